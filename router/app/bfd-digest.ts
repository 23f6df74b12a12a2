/** The digests of BFD's authentication, for both edges that run sessions. */
import { createHash } from 'node:crypto';

export function bfdDigest(algorithm: 'md5' | 'sha1', octets: Uint8Array): Uint8Array {
  return createHash(algorithm).update(octets).digest();
}
