/**
 * WireGuard keys: 32 octets of Curve25519 (RFC 7748), in base64 for people and in hex for the userspace API.
 * Does not keep keys: callers hold them, and neither logs nor error texts ever show one.
 */
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';

export const KEY_LENGTH = 32;

/** A key as wg(8) writes it: 44 characters of base64. Anything else gives undefined, also base64 with stray bits. */
export function parseKey(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) return undefined;
  const bytes = new Uint8Array(Buffer.from(text, 'base64'));
  return formatKey(bytes) === text ? bytes : undefined;
}

export function formatKey(key: Uint8Array): string {
  return Buffer.from(key).toString('base64');
}

/** A key in the userspace API's form. */
export function keyToHex(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}

export function keyFromHex(text: string): Uint8Array | undefined {
  return /^[0-9a-fA-F]{64}$/.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined;
}

/** RFC 7748 §5: the scalar is clamped, as wg(8) does. */
export function generatePrivateKey(): Uint8Array {
  const key = new Uint8Array(randomBytes(KEY_LENGTH));
  key[0]! &= 248;
  key[31] = (key[31]! & 127) | 64;
  return key;
}

export function generatePresharedKey(): Uint8Array {
  return new Uint8Array(randomBytes(KEY_LENGTH));
}

// RFC 8410 §7: what stands in front of the 32 octets in a PKCS #8 private key.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

export function publicKey(privateKey: Uint8Array): Uint8Array {
  const der = Buffer.concat([PKCS8_PREFIX, privateKey]);
  const spki = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export({
    format: 'der',
    type: 'spki',
  });
  der.fill(0);
  return new Uint8Array(spki.subarray(spki.length - KEY_LENGTH));
}
