/**
 * Where ROAs come from, in the routing worker: RTR caches and files feed one table; what changed in it goes to the speaker.
 * Loads in slices between other work.
 */
import type { Transport } from '../../bgp/ports.ts';
import { VrpLoader } from '../../bgp/rpki/loader.ts';
import { type RoaSource, RoaTable } from '../../bgp/rpki/roa-table.ts';
import { wanted } from '../../bgp/rpki/rtr-group.ts';
import { VrpList } from '../../bgp/speaker.ts';
import type { RoaFileConfig, RpkiConfig, RtrServerConfig } from '../config/rpki.ts';
import type { RpkiFileStatus, RpkiServerStatus, RpkiStatus } from '../control/messages.ts';
import { systemClock, wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { RoaFile } from './roa-files.ts';
import { RpkiRefresh } from './rpki-refresh.ts';
import { RtrServer } from './rtr-server.ts';

/** VRPs put into the table in one turn: about a millisecond. */
const LOAD_BUDGET = 2048;

/** Less than those who ask wait for an answer. */
const REFRESH_MS = 8_000;

interface FileSource {
  readonly file: RoaFile;
  readonly source: RoaSource;
}

export class RpkiRoom {
  readonly table = new RoaTable();
  #servers: RtrServer[] = [];
  #files: FileSource[] = [];
  readonly #stack: Transport;
  readonly #random: () => number;
  readonly #loader: VrpLoader;
  readonly #log: Logger;
  /** Those that wait for their end. */
  readonly #refreshes = new Set<RpkiRefresh>();
  #refreshS = 0;
  #timer: NodeJS.Timeout | undefined;
  #isLoading = false;
  #isRunning = false;
  /** States as they were told to the log last. */
  readonly #told = new Map<RtrServer, string>();

  /**
   * @param config undefined = no source, for now
   * @param changed told the prefixes of which ROAs came or went
   */
  constructor(
    config: RpkiConfig | undefined,
    stack: Transport,
    random: () => number,
    log: Logger,
    changed: (changed: VrpList) => void,
  ) {
    this.#stack = stack;
    this.#random = random;
    this.#log = log;
    this.#loader = new VrpLoader(changed);
    this.#take(config);
  }

  /** There is a source. */
  get isConfigured(): boolean {
    return this.#servers.length + this.#files.length > 0;
  }

  start(): void {
    this.#isRunning = true;
    for (const { file } of this.#files) file.start();
    this.#serversChanged();
  }

  /** Go over to other sources. One that does not differ goes on; the ROAs of one that is gone leave the table. */
  reload(config: RpkiConfig | undefined): void {
    this.#take(config);
    this.#serversChanged();
  }

  #take(config: RpkiConfig | undefined): void {
    const refreshS = config?.refreshS ?? this.#refreshS;
    const isKept = <C>(before: C, all: readonly C[]): boolean =>
      refreshS === this.#refreshS && all.some((c) => JSON.stringify(c) === JSON.stringify(before));
    const servers = (config?.servers ?? []).map((s) => ({ ...s, refreshS: s.refreshS ?? refreshS }));
    const files = config?.files ?? [];
    for (const server of this.#servers) {
      if (isKept(server.config, servers)) continue;
      if (server.isRunning) server.stop();
      this.#forget(server.source);
      this.#told.delete(server);
    }
    for (const { file, source } of this.#files) {
      if (isKept(file.config, files)) continue;
      file.stop();
      this.#forget(source);
    }
    const keptServers = this.#servers.filter((s) => isKept(s.config, servers));
    const keptFiles = this.#files.filter((f) => isKept(f.file.config, files));
    this.#refreshS = refreshS;
    const isNew = <C>(c: C, kept: readonly C[]): boolean => !kept.some((k) => JSON.stringify(k) === JSON.stringify(c));
    const keptServerConfigs = keptServers.map((s) => s.config);
    const keptFileConfigs = keptFiles.map((f) => f.file.config);
    this.#servers = [...keptServers, ...servers.filter((c) => isNew(c, keptServerConfigs)).map((c) => this.#server(c))];
    const newFiles = files.filter((c) => isNew(c, keptFileConfigs)).map((c) => this.#file(c));
    this.#files = [...keptFiles, ...newFiles];
    if (this.#isRunning) for (const { file } of newFiles) file.start();
  }

  /** Take a source's ROAs out of the table, then give its place free. */
  #forget(source: RoaSource): void {
    this.#loader.replace(source, new VrpList(), () => source.close());
    this.#load();
  }

  #server(config: RtrServerConfig): RtrServer {
    const source = this.table.addSource(config.name);
    return new RtrServer(config, source, this.#loader, this.#stack, this.#random, () => this.#serversChanged());
  }

  #file(config: RoaFileConfig): FileSource {
    const source = this.table.addSource(config.name);
    const loaded = (list: VrpList): void => {
      this.#loader.replace(source, list, ({ changed: c }) => {
        if (c.size > 0) this.#log.info('ROAs read', { file: config.name, roas: source.size, changed: c.size });
      });
      this.#load();
    };
    const failed = (why: string): void =>
      this.#log.warn('ROA file cannot be used', { file: config.name, why, code: 'R102' });
    return { file: new RoaFile(config, this.#refreshS, loaded, failed), source };
  }

  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    for (const { file } of this.#files) file.stop();
    for (const server of this.#servers) if (server.isRunning) server.stop();
  }

  /** Every source has been read, or cannot be. */
  get isSettled(): boolean {
    const isKnown = ({ isRunning, client }: RtrServer): boolean =>
      !isRunning || client.isFailing || client.state === 'synchronized';
    const isRead = ({ file }: { readonly file: RoaFile }): boolean => file.readAt !== undefined || file.failures > 0;
    return !this.#loader.isPending && this.#servers.every(isKnown) && this.#files.every(isRead);
  }

  /**
   * Read every file and ask every cache that is in use now, and wait for what they say.
   * @returns sources that could not be asked, each with the reason
   * @throws MlshimError TIMEOUT when one of them has neither answered nor failed by then
   */
  async refresh(withinMs = REFRESH_MS): Promise<readonly string[]> {
    const servers = this.#servers.filter((s) => s.isRunning);
    const files = this.#files.map((f) => f.file);
    const refresh = new RpkiRefresh(servers, files, withinMs, () => this.#loader.isPending);
    this.#refreshes.add(refresh);
    try {
      return await refresh.ended;
    } finally {
      this.#refreshes.delete(refresh);
    }
  }

  /** @param notRefreshed of `refresh` */
  show(revalidated: number, notRefreshed: readonly string[] = []): RpkiStatus {
    return {
      vrps_ipv4: this.table.size(4),
      vrps_ipv6: this.table.size(6),
      loading: this.#loader.isPending,
      revalidated,
      not_refreshed: notRefreshed,
      servers: this.#servers.map(serverStatus),
      files: this.#files.map(({ file, source }) => fileStatus(file, source)),
    };
  }

  /** Start and stop caches by preference, load what they gathered, and wake up when one wants it. */
  #serversChanged(): void {
    if (!this.#isRunning) return;
    const members = this.#servers.map((s) => ({
      preference: s.config.preference,
      isRunning: s.isRunning,
      isFailing: s.client.isFailing,
      isSynchronized: s.client.state === 'synchronized',
    }));
    for (const [i, isWanted] of wanted(members).entries()) {
      const server = this.#servers[i]!;
      if (isWanted && !server.isRunning) server.start();
      else if (!isWanted && server.isRunning) server.stop();
    }
    for (const server of this.#servers) this.#tell(server);
    this.#arm();
    this.#load();
    this.#lookAtRefreshes();
  }

  #lookAtRefreshes(): void {
    for (const refresh of this.#refreshes) refresh.look();
  }

  #tell(server: RtrServer): void {
    const { client, config } = server;
    const state = client.state === 'synchronized' ? 'good' : client.isFailing ? `bad ${client.lastError?.text}` : '';
    if (state === '' || this.#told.get(server) === state) return;
    this.#told.set(server, state);
    if (state === 'good') this.#log.info('RPKI cache synchronized', { cache: config.name, roas: server.source.size });
    else this.#log.warn('RPKI cache failed', { cache: config.name, why: client.lastError?.text, code: 'R103' });
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const at = Math.min(...this.#servers.map((s) => s.client.deadline() ?? Infinity));
    if (at === Infinity) return;
    this.#timer = setTimeout(
      () => {
        for (const server of this.#servers)
          if ((server.client.deadline() ?? Infinity) <= systemClock.now()) server.tick();
        this.#arm();
      },
      Math.max(1, Math.ceil(at - systemClock.now())),
    );
  }

  #load(): void {
    if (this.#isLoading || !this.#loader.isPending) return;
    this.#isLoading = true;
    setImmediate(() => {
      this.#isLoading = false;
      this.#loader.step(LOAD_BUDGET);
      this.#load();
      this.#lookAtRefreshes();
    });
  }
}

function serverStatus({ config, client, source }: RtrServer): RpkiServerStatus {
  const now = systemClock.now();
  const { synchronizedAt, expiresAt, lastError } = client;
  return {
    name: config.name,
    uplink: config.via ?? '',
    preference: config.preference,
    state: client.state,
    version: client.version,
    ...(client.sessionId !== undefined && { session_id: client.sessionId, serial: client.serial }),
    vrps: source.size,
    ...(synchronizedAt !== undefined && { updated_s: (now - synchronizedAt) / 1000 }),
    ...(expiresAt !== undefined && { expires_s: Math.max(0, expiresAt - now) / 1000 }),
    last_error: lastError === undefined || client.state === 'synchronized' ? '' : lastError.text,
  };
}

function fileStatus(file: RoaFile, source: RoaSource): RpkiFileStatus {
  return {
    name: file.config.name,
    vrps: source.size,
    ...(file.readAt !== undefined && { read_s: (systemClock.now() - file.readAt) / 1000 }),
    ...(file.writtenAtMs !== undefined && { age_s: Math.max(0, wallClockMs() - file.writtenAtMs) / 1000 }),
    failures: file.failures,
    last_error: file.lastError,
  };
}
