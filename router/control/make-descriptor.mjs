/** Writes descriptor.ts from control.proto: `node router/control/make-descriptor.mjs`. A test compares the two. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';

const proto = readFileSync(join(import.meta.dirname, 'control.proto'), 'utf8');
const { root } = protobuf.parse(proto, new protobuf.Root(), { keepCase: true });
const text = `/** Made from control.proto by make-descriptor.mjs; do not edit. */
// biome-ignore format: generated
export const DESCRIPTOR = ${JSON.stringify(root.toJSON(), null, 1)};
`;
writeFileSync(join(import.meta.dirname, 'descriptor.ts'), text);
