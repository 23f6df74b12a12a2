/** What ping(8) has printed, in figures. */

/** Sequence numbers that were not answered, below the last one that was: whether the one under way arrives nobody knows. */
export function missedPings(stdout: string): number[] {
  const answered = new Set([...stdout.matchAll(/icmp_seq=(\d+) ttl=/g)].map((m) => Number(m[1])));
  const last = Math.max(0, ...answered);
  return Array.from({ length: last }, (_, i) => i + 1).filter((n) => !answered.has(n));
}
