/** Those who only listen to BGP: the stations and files of the configuration, fed by the speaker. */
import { BmpFeed } from '../../bgp/monitor/bmp-feed.ts';
import type { BmpInstance } from '../../bgp/monitor/bmp-instance.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import { isInside } from '../../bgp/vpn/vrf-peers.ts';
import { GLOBAL_TABLE } from '../../bgp/wire/bmp.ts';
import type { BgpConfig, BmpStation, MrtFile } from '../config/bgp-model.ts';
import { wallClockMs } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import type { Logger } from '../lib/log.ts';
import { VERSION } from '../lib/version.ts';
import { BmpClient } from './bmp-client.ts';
import { MrtFiles } from './mrt-files.ts';

/** What is told to one station. */
interface Station {
  readonly at: BmpStation;
  readonly client: BmpClient;
  /** Nothing more is fed to it. */
  readonly unplug: () => void;
}

/** An MRT file that is written, as it is configured. */
interface Recording {
  readonly file: MrtFile;
  readonly files: MrtFiles;
}

/** A speaker and how stations tell it from others. */
export type MonitoredSpeaker = Pick<BmpInstance, 'name' | 'distinguisher'> & { readonly speaker: Speaker };

type Recorded = keyof BgpConfig['mrt'];

export class BgpMonitoring {
  readonly #speaker: Speaker;
  /** The default one first. */
  #instances: readonly MonitoredSpeaker[] = [];
  readonly #systemName: string;
  readonly #log: Logger;
  #stations: readonly Station[] = [];
  readonly #recordings = new Map<Recorded, Recording>();
  #isRunning = false;

  /** @param vrfs the speakers of VRFs; MRT files are about the default one's tables */
  constructor(
    settings: BgpConfig,
    speaker: Speaker,
    vrfs: readonly MonitoredSpeaker[],
    systemName: string,
    log: Logger,
  ) {
    this.#speaker = speaker;
    this.#systemName = systemName;
    this.#log = log;
    this.reload(settings, vrfs);
  }

  start(): void {
    this.#isRunning = true;
    for (const { client } of this.#stations) client.start();
  }

  /**
   * Go over to other stations, files and VRFs; stations and files that stay notice nothing. Where VRFs come, go or are called
   * otherwise, all stations are told everything anew.
   */
  reload({ bmp, mrt }: BgpConfig, vrfs: readonly MonitoredSpeaker[]): void {
    const isTold = isEqual(this.#instances.slice(1), vrfs);
    this.#instances = [{ name: GLOBAL_TABLE, distinguisher: undefined, speaker: this.#speaker }, ...vrfs];
    const gone = this.#stations.filter((s) => !isTold || !bmp.some((at) => isEqual(at, s.at)));
    for (const s of gone) void leave(s);
    const kept = this.#stations.filter((s) => !gone.includes(s));
    const added = bmp.filter((at) => !kept.some((s) => isEqual(at, s.at))).map((at) => this.#station(at));
    if (this.#isRunning) for (const { client } of added) client.start();
    this.#stations = [...kept, ...added];
    for (const kind of ['tables', 'updates'] as const) this.#record(kind, mrt[kind]);
  }

  #station(at: BmpStation): Station {
    const feed = new BmpFeed({
      systemName: this.#systemName,
      description: `mlshim ${VERSION}`,
      wallMs: wallClockMs,
      tables: at.tables,
      instances: this.#instances.map(({ name, distinguisher, speaker }) => ({
        name,
        distinguisher,
        asn: speaker.asn,
        routerId: speaker.routerId,
        sessions: () => speaker.sessions(),
        monitoring: speaker.monitoring,
        isHidden: isInside,
      })),
    });
    const unplugs = this.#instances.map(({ speaker }, i) => speaker.addMonitor(feed.monitors[i]!));
    const unplug = (): void => {
      for (const each of unplugs) each();
    };
    return { at, client: new BmpClient(at, feed, this.#log), unplug };
  }

  #record(kind: Recorded, file: MrtFile | undefined): void {
    const before = this.#recordings.get(kind);
    if (isEqual(before?.file, file)) return;
    before?.files.stop();
    this.#recordings.delete(kind);
    if (file === undefined) return;
    const files = new MrtFiles(this.#speaker, this.#log);
    files[kind](file);
    this.#recordings.set(kind, { file, files });
  }

  async stop(): Promise<void> {
    for (const { files } of this.#recordings.values()) files.stop();
    await Promise.all(this.#stations.map(leave));
  }
}

/** Say goodbye to a station; resolves when that has left. */
async function leave({ client, unplug }: Station): Promise<void> {
  await client.stop();
  unplug();
}
