/**
 * The router's side of one session with an RPKI cache: connects, asks, gathers what the cache answers, asks again when told
 * or when it is time, and says when the data is too old to use.
 * Read first: RFC 8210 §6 (timers), §7 (versions), §8 (sequences), RFC 6810 for version 0. Octets and time in, actions out.
 *
 * Deviation: RFC 8210 §5.1 has a router throw its data away when the session id changes. It is kept until the cache has sent
 * all of the new, or it expires: a cache that restarts must not make every route unknown. Pinned by test/bgp/rpki/rtr.test.ts.
 */

import { get32 } from '../../router/lib/bytes.ts';
import type { Instant } from '../../router/lib/clock.ts';
import {
  errorReport,
  errorText,
  isFault,
  type Pdu,
  PduReader,
  PduType,
  RtrError,
  type RtrFault,
  resetQuery,
  serialQuery,
} from './rtr-pdu.ts';
import { VrpList } from './vrp.ts';

/** Seconds; undefined = what the cache says, else the RFC's. */
export interface RtrTimers {
  readonly refreshS?: number | undefined;
  readonly retryS?: number | undefined;
  readonly expireS?: number | undefined;
}

export type RtrState = 'stopped' | 'waiting' | 'connecting' | 'querying' | 'receiving' | 'loading' | 'synchronized';

export type RtrEvent =
  | { readonly kind: 'start' | 'stop' | 'refresh' | 'opened' | 'loaded' }
  | { readonly kind: 'octets'; readonly octets: Uint8Array }
  | { readonly kind: 'closed'; readonly reason: string }
  /** What was to be loaded contradicts what the cache had sent before. */
  | { readonly kind: 'refused'; readonly code: number; readonly words: string };

export type RtrAction =
  | { readonly kind: 'connect' | 'close' | 'expired' }
  | { readonly kind: 'send'; readonly octets: Uint8Array }
  /** Put this into the table, then handle 'loaded'. `isFull`: it replaces everything the cache sent before. */
  | { readonly kind: 'load'; readonly list: VrpList; readonly isFull: boolean };

// RFC 8210 §6: defaults, and the bounds of what a cache may ask for.
const DEFAULT_S = { refresh: 3600, retry: 600, expire: 7200 } as const;
const BOUNDS_S = { refresh: [1, 86_400], retry: [1, 7_200], expire: [600, 172_800] } as const;
/** First pause after a failure; doubles up to the retry interval. */
const FIRST_PAUSE_MS = 1_000;
/** A cache that begins to answer goes on within this time. */
const ANSWER_MS = 60_000;
/** More than ten times the world's VRPs of today: what a broken cache may make us keep. */
export const MAX_VRPS = 8_000_000;
const NEWEST_VERSION = 1;

export class RtrClient {
  state: RtrState = 'stopped';
  version = NEWEST_VERSION;
  sessionId: number | undefined;
  serial = 0;
  lastError: { readonly text: string; readonly at: Instant } | undefined;
  /** When the data was complete last. */
  synchronizedAt: Instant | undefined;
  /** Its VRPs are in the table and not too old. */
  hasData = false;
  /** The last attempt failed, and none has succeeded since. */
  isFailing = false;
  readonly #timers: RtrTimers;
  readonly #random: () => number;
  readonly #actions: RtrAction[] = [];
  #reader = new PduReader();
  /** Seconds in force. */
  #refreshS: number = DEFAULT_S.refresh;
  #retryS: number = DEFAULT_S.retry;
  #expireS: number = DEFAULT_S.expire;
  #list = new VrpList();
  #isFull = false;
  /** A load was asked for and has not been answered: the data is neither thrown away nor complete until then. */
  #isLoading = false;
  #isConnected = false;
  /** The cache's first answer has settled the version (RFC 8210 §7). */
  #isSettled = false;
  #notified = false;
  #pauseMs = FIRST_PAUSE_MS;
  /** When the current state ends by itself. */
  #wakeAt: number = Infinity;
  #expireAt: number = Infinity;

  /** @param random uniform numbers in [0, 1) for the jitter of pauses */
  constructor(timers: RtrTimers, random: () => number) {
    this.#timers = timers;
    this.#random = random;
    this.#setTimers(DEFAULT_S.refresh, DEFAULT_S.retry, DEFAULT_S.expire);
  }

  /** Seconds in force: asked again after, tried again after, thrown away after. */
  get timersS(): { readonly refresh: number; readonly retry: number; readonly expire: number } {
    return { refresh: this.#refreshS, retry: this.#retryS, expire: this.#expireS };
  }

  /** When the data is thrown away unless the cache is heard again; undefined without data. */
  get expiresAt(): Instant | undefined {
    return this.#expireAt === Infinity ? undefined : (this.#expireAt as Instant);
  }

  poll(): RtrAction | undefined {
    return this.#actions.shift();
  }

  deadline(): Instant | undefined {
    const at = Math.min(this.#wakeAt, this.#isLoading ? Infinity : this.#expireAt);
    return at === Infinity ? undefined : (at as Instant);
  }

  tick(now: Instant): void {
    if (this.#expireAt <= now && !this.#isLoading) {
      this.#expireAt = Infinity;
      this.hasData = false;
      this.sessionId = undefined;
      // It may have become another one meanwhile.
      this.version = NEWEST_VERSION;
      this.#act({ kind: 'expired' });
    }
    if (this.#wakeAt > now) return;
    this.#wakeAt = Infinity;
    if (this.state === 'waiting') this.#connect(now);
    else if (this.state === 'synchronized') this.#query(now);
    else if (this.state === 'connecting') this.#fail('no connection in time', now);
    else if (this.state === 'querying' || this.state === 'receiving') this.#fail('the cache does not answer', now);
  }

  handle(event: RtrEvent, now: Instant): void {
    switch (event.kind) {
      case 'start':
        if (this.state === 'stopped') this.#connect(now);
        break;
      case 'stop':
        this.#disconnect();
        this.state = 'stopped';
        this.#wakeAt = Infinity;
        // Whoever stops a client takes its data out of the table too.
        this.#expireAt = Infinity;
        this.hasData = false;
        this.sessionId = undefined;
        this.isFailing = false;
        this.#isLoading = false;
        this.version = NEWEST_VERSION;
        break;
      case 'refresh':
        if (this.state === 'synchronized') this.#query(now);
        else if (this.state === 'waiting') this.#connect(now);
        break;
      case 'opened':
        if (this.state !== 'connecting') break;
        this.#isConnected = true;
        this.#isSettled = false;
        this.#reader = new PduReader();
        this.#query(now);
        break;
      case 'octets':
        this.#read(event.octets, now);
        break;
      case 'closed':
        this.#isConnected = false;
        if (this.state !== 'stopped') this.#fail(event.reason, now);
        break;
      case 'loaded':
        if (this.#isLoading) this.#loaded(now);
        break;
      case 'refused':
        if (!this.#isLoading) break;
        this.#isLoading = false;
        this.sessionId = undefined;
        // The connection may have ended meanwhile: what comes next is a Reset Query all the same.
        if (this.state !== 'loading') break;
        this.#fault({ code: event.code, words: event.words, pdu: new Uint8Array(0) }, now);
        break;
    }
  }

  #act(action: RtrAction): void {
    this.#actions.push(action);
  }

  #connect(now: Instant): void {
    this.state = 'connecting';
    this.#wakeAt = now + ANSWER_MS;
    this.#act({ kind: 'connect' });
  }

  #query(now: Instant): void {
    this.state = 'querying';
    this.#notified = false;
    this.#wakeAt = now + ANSWER_MS;
    this.#isFull = this.sessionId === undefined;
    const octets =
      this.sessionId === undefined ? resetQuery(this.version) : serialQuery(this.version, this.sessionId, this.serial);
    this.#act({ kind: 'send', octets });
  }

  /** The connection may have ended meanwhile: the data is complete all the same. */
  #loaded(now: Instant): void {
    this.#isLoading = false;
    this.hasData = true;
    this.synchronizedAt = now;
    this.#expireAt = now + this.#expireS * 1000;
    if (this.state !== 'loading') return;
    this.state = 'synchronized';
    this.isFailing = false;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#wakeAt = now + this.#refreshS * 1000;
    if (this.#notified) this.#query(now);
  }

  /** Close, and try again after a pause that doubles up to the retry interval. */
  #fail(text: string, now: Instant, pauseMs = this.#pauseMs): void {
    // StayRTR answers the Serial Query of a session it does not know with an error, or closes, not with a Cache Reset.
    if (this.state === 'querying') this.sessionId = undefined;
    this.#disconnect();
    this.lastError = { text, at: now };
    this.isFailing = true;
    this.state = 'waiting';
    this.#wakeAt = now + pauseMs * (0.75 + this.#random() / 4);
    this.#pauseMs = Math.min(this.#pauseMs * 2, this.#retryS * 1000);
  }

  #disconnect(): void {
    if (this.#isConnected || this.state === 'connecting') this.#act({ kind: 'close' });
    this.#isConnected = false;
    this.#list = new VrpList();
  }

  /** RFC 8210 §10: tell the cache what is wrong with its PDU, and end the session. */
  #fault(fault: RtrFault, now: Instant): void {
    if (fault.isSilent !== true) this.#act({ kind: 'send', octets: errorReport(this.version, fault) });
    this.#fail(fault.words, now);
  }

  #read(octets: Uint8Array, now: Instant): void {
    if (!this.#isConnected) return;
    this.#reader.push(octets);
    while (this.#isConnected) {
      const pdu = this.#reader.next();
      if (pdu === undefined) return;
      if (isFault(pdu)) this.#fault(pdu, now);
      else if (this.#settleVersion(pdu, now)) this.#take(pdu, now);
    }
  }

  /** RFC 8210 §7. @returns whether the PDU is to be looked at */
  #settleVersion(pdu: Pdu, now: Instant): boolean {
    if (pdu.type === PduType.ErrorReport) return true;
    if (!this.#isSettled) {
      // "If the router receives a Serial Notify PDU before ... the router MUST simply ignore" it.
      if (pdu.type === PduType.SerialNotify) return false;
      if (pdu.version < this.version) {
        this.version = pdu.version;
        this.lastError = { text: `the cache speaks version ${pdu.version} only`, at: now };
      }
      this.#isSettled = true;
    }
    if (pdu.version === this.version) return true;
    const words = `version ${pdu.version} instead of ${this.version}`;
    this.#fault({ code: RtrError.UnexpectedVersion, words, pdu: pdu.bytes.slice() }, now);
    return false;
  }

  #take(pdu: Pdu, now: Instant): void {
    switch (pdu.type) {
      case PduType.SerialNotify:
        this.#onNotify(pdu, now);
        return;
      case PduType.CacheResponse:
        if (this.state !== 'querying') break;
        if (this.sessionId !== undefined && this.sessionId !== pdu.session) {
          this.#newSession(now);
          return;
        }
        this.sessionId = pdu.session;
        this.state = 'receiving';
        this.#list = new VrpList();
        this.#wakeAt = now + ANSWER_MS;
        return;
      case PduType.Ipv4Prefix:
      case PduType.Ipv6Prefix:
        if (this.state !== 'receiving') break;
        this.#wakeAt = now + ANSWER_MS;
        this.#onPrefix(pdu, now);
        return;
      case PduType.RouterKey:
        if (this.version === 0) {
          this.#unsupported(pdu, now);
          return;
        }
        if (this.state !== 'receiving') break;
        this.#wakeAt = now + ANSWER_MS;
        return; // BGPsec is not spoken
      case PduType.EndOfData:
        if (this.state !== 'receiving') break;
        this.#onEndOfData(pdu, now);
        return;
      case PduType.CacheReset:
        // In answer to a Reset Query it would be asked for and sent for ever.
        if (this.state !== 'querying' || this.#isFull) break;
        this.sessionId = undefined;
        this.#query(now);
        return;
      case PduType.ErrorReport:
        this.#onError(pdu, now);
        return;
      case PduType.SerialQuery:
      case PduType.ResetQuery:
        break;
      default:
        this.#unsupported(pdu, now);
        return;
    }
    const words = `PDU type ${pdu.type} is out of place`;
    this.#fault({ code: RtrError.InvalidRequest, words, pdu: pdu.bytes.slice() }, now);
  }

  #unsupported(pdu: Pdu, now: Instant): void {
    const words = `unknown PDU type ${pdu.type}`;
    this.#fault({ code: RtrError.UnsupportedPduType, words, pdu: pdu.bytes.slice() }, now);
  }

  #onNotify(pdu: Pdu, now: Instant): void {
    if (this.sessionId !== undefined && pdu.session !== this.sessionId) {
      this.#newSession(now);
      return;
    }
    if (get32(pdu.bytes, 8) >>> 0 === this.serial && this.hasData) return;
    if (this.state === 'synchronized') this.#query(now);
    else this.#notified = true;
  }

  /** The cache has started anew: ask for everything over a fresh connection. */
  #newSession(now: Instant): void {
    this.sessionId = undefined;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#fail('the cache has begun a new session', now);
  }

  #onPrefix(pdu: Pdu, now: Instant): void {
    const b = pdu.bytes;
    const flags = b[8]!;
    const length = b[9]!;
    const max = b[10]!;
    const is4 = pdu.type === PduType.Ipv4Prefix;
    const bits = is4 ? 32 : 128;
    const w0 = get32(b, 12);
    const w1 = is4 ? 0 : get32(b, 16);
    const w2 = is4 ? 0 : get32(b, 20);
    const w3 = is4 ? 0 : get32(b, 24);
    const isWithdrawn = (flags & 1) === 0;
    const words =
      length > max || max > bits
        ? `prefix of length ${length} up to ${max}`
        : hasHostBits(w0, length) ||
            hasHostBits(w1, length - 32) ||
            hasHostBits(w2, length - 64) ||
            hasHostBits(w3, length - 96)
          ? 'host bits set in a prefix'
          : isWithdrawn && this.#isFull
            ? 'a withdrawal in the answer to a Reset Query' // RFC 8210 §8.1
            : this.#list.size >= MAX_VRPS
              ? `more than ${MAX_VRPS} prefixes`
              : undefined;
    if (words !== undefined) {
      this.#fault({ code: RtrError.CorruptData, words, pdu: b.slice() }, now);
      return;
    }
    const asn = get32(b, is4 ? 16 : 28) >>> 0;
    this.#list.add(is4 ? 4 : 6, w0, w1, w2, w3, length, max, asn, isWithdrawn);
  }

  #onEndOfData(pdu: Pdu, now: Instant): void {
    if (pdu.session !== this.sessionId) {
      const words = 'the session id changes within an answer';
      this.sessionId = undefined;
      this.#fault({ code: RtrError.CorruptData, words, pdu: pdu.bytes.slice() }, now);
      return;
    }
    const b = pdu.bytes;
    this.serial = get32(b, 8) >>> 0;
    if (this.version > 0) this.#setTimers(get32(b, 12) >>> 0, get32(b, 16) >>> 0, get32(b, 20) >>> 0);
    this.state = 'loading';
    this.#isLoading = true;
    this.#wakeAt = Infinity;
    const list = this.#list;
    this.#list = new VrpList();
    this.#act({ kind: 'load', list, isFull: this.#isFull });
  }

  #onError(pdu: Pdu, now: Instant): void {
    const text = errorText(pdu);
    // RFC 8210 §7: try again with the version the cache answered in, or an older one. A session id belongs to a version.
    const other = this.version === 0 ? Math.min(pdu.version, NEWEST_VERSION) : Math.min(pdu.version, this.version - 1);
    if (pdu.session === RtrError.UnsupportedVersion && other !== this.version) {
      const isOlder = other < this.version;
      this.version = other;
      this.sessionId = undefined;
      this.#fail(text, now, isOlder ? FIRST_PAUSE_MS / 4 : this.#pauseMs);
      return;
    }
    // RFC 8210 §8.4: where the cache has nothing yet, another may.
    this.#fail(`the cache says: ${text}`, now);
  }

  /** What the configuration says, else what the cache asks for, within the bounds of RFC 8210 §6. */
  #setTimers(refresh: number, retry: number, expire: number): void {
    const within = (value: number, [min, max]: readonly [number, number]): number =>
      Math.min(max, Math.max(min, value));
    const t = this.#timers;
    this.#refreshS = t.refreshS ?? within(refresh, BOUNDS_S.refresh);
    this.#retryS = t.retryS ?? within(retry, BOUNDS_S.retry);
    // "The expire interval ... MUST be set to a value larger than both."
    const least = Math.max(this.#refreshS, this.#retryS) + 1;
    this.#expireS = Math.max(least, t.expireS ?? within(expire, BOUNDS_S.expire));
  }
}

/** Whether a word has bits below its `length` leading ones. */
function hasHostBits(word: number, length: number): boolean {
  return length < 32 && (length <= 0 ? word !== 0 : (word & (0xffffffff >>> length)) !== 0);
}
