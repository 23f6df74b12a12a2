/**
 * How many ICMP errors we send (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)): a token bucket for all of them, and one per
 * destination (hashed into a small table), so that one scanner does not use up everybody's. Integer arithmetic only.
 */

/** All errors together. */
const GLOBAL_PER_SECOND = 1000;
const GLOBAL_BURST = 50;
/** Towards one destination: enough for a traceroute with three probes per hop. */
const PEER_PER_SECOND = 20;
const PEER_BURST = 20;
const PEERS = 256;

export class ErrorRateLimit {
  #tokens = GLOBAL_BURST * 1000;
  #lastMs: number;
  readonly #peerTokens = new Int32Array(PEERS).fill(PEER_BURST * 1000);
  readonly #peerLastMs: Int32Array;

  constructor(nowMs: number) {
    this.#lastMs = nowMs;
    this.#peerLastMs = new Int32Array(PEERS).fill(nowMs);
  }

  /**
   * May an error be sent to the destination that hashes to `key`? Takes a token of both buckets if so.
   * @param isTooBig path MTU errors have no limit per destination: a sender that misses one stalls (as in Linux)
   */
  allow(key: number, nowMs: number, isTooBig: boolean): boolean {
    this.#tokens = refill(this.#tokens, (nowMs - this.#lastMs) | 0, GLOBAL_PER_SECOND, GLOBAL_BURST);
    this.#lastMs = nowMs;
    if (isTooBig) {
      if (this.#tokens < 1000) return false;
      this.#tokens -= 1000;
      return true;
    }
    const peer = (key ^ (key >>> 8) ^ (key >>> 16) ^ (key >>> 24)) & (PEERS - 1);
    const tokens = refill(this.#peerTokens[peer]!, (nowMs - this.#peerLastMs[peer]!) | 0, PEER_PER_SECOND, PEER_BURST);
    this.#peerLastMs[peer] = nowMs;
    this.#peerTokens[peer] = tokens;
    if (this.#tokens < 1000 || tokens < 1000) return false;
    this.#tokens -= 1000;
    this.#peerTokens[peer] = tokens - 1000;
    return true;
  }
}

/** Thousandths of a token: `perSecond` thousandths come with every millisecond. */
function refill(tokens: number, elapsedMs: number, perSecond: number, burst: number): number {
  const room = burst * 1000 - tokens;
  // A clock that stood still for long would overflow the product; the bucket is full then anyway.
  if (elapsedMs < 0 || elapsedMs >= 60_000) return burst * 1000;
  return tokens + Math.min(room, elapsedMs * perSecond);
}
