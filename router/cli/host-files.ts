/** What small files of the kernel say. */
import { readFileSync } from 'node:fs';

/** Empty where it cannot be read. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Octets; undefined where there is no such interface. */
export function interfaceMtu(device: string): number | undefined {
  const text = textOf(`/sys/class/net/${device}/mtu`);
  return text === '' ? undefined : Number(text);
}
