/** `mlshim wg genkey|pubkey|genpsk`: keys as wg(8) prints them. */
import { readFileSync } from 'node:fs';
import { formatKey, generatePresharedKey, generatePrivateKey, parseKey, publicKey } from '../../wg/keys.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';

export async function genkey(input: Input): Promise<number> {
  input.io.out(`${formatKey(generatePrivateKey())}\n`);
  return 0;
}

export async function genpsk(input: Input): Promise<number> {
  input.io.out(`${formatKey(generatePresharedKey())}\n`);
  return 0;
}

export async function pubkey(input: Input): Promise<number> {
  const key = parseKey(readFileSync(0, 'utf8').trim());
  if (key === undefined) throw new MlshimError('USAGE', 'standard input holds no WireGuard key');
  input.io.out(`${formatKey(publicKey(key))}\n`);
  return 0;
}
