/**
 * Writes the descriptors of our protobuf schemas, each beside its schema: `node router/control/make-descriptor.mjs`.
 * Tests compare the two.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import protobuf from 'protobufjs';

for (const schema of ['control.proto', '../fpm/fpm.proto']) {
  const file = join(import.meta.dirname, schema);
  const { root } = protobuf.parse(readFileSync(file, 'utf8'), new protobuf.Root(), { keepCase: true });
  const text = `/** Made from ${basename(schema)} by make-descriptor.mjs; do not edit. */
// biome-ignore format: generated
export const DESCRIPTOR = ${JSON.stringify(root.toJSON(), null, 1)};
`;
  writeFileSync(join(dirname(file), 'descriptor.ts'), text);
}
