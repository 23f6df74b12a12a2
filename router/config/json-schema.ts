/** The configuration as a JSON Schema, for editors, with a line about each key. */
import { z } from 'zod';
import { DESCRIPTIONS } from './descriptions.ts';
import { MAY_BE_BOOLEAN } from './fields.ts';
import { configSchema } from './schema.ts';

/** As much of a JSON Schema of draft-7 as ours has. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly title?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly definitions?: Readonly<Record<string, JsonSchema>>;
  description?: string;
}

/** Draft-7, because the YAML language server stops there. */
export function jsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema, {
    target: 'draft-7',
    io: 'input',
    override: ({ jsonSchema: s }) => {
      if (!(MAY_BE_BOOLEAN in s)) return;
      const { [MAY_BE_BOOLEAN]: _, ...mapping } = s;
      for (const key of Object.keys(s)) delete s[key];
      s.anyOf = [{ type: 'boolean' }, mapping as typeof s];
    },
  }) as JsonSchema;
  eachKey(schema, (place, key) => {
    const text = DESCRIPTIONS[place];
    if (text !== undefined) key.description = text;
  });
  return schema;
}

/** Visits all keys, with their places as in descriptions.ts, in the order of the schema; definitions come last. */
export function eachKey(
  schema: JsonSchema,
  visit: (place: string, key: JsonSchema, isRequired: boolean) => void,
  place = '',
): void {
  for (const part of [...(schema.anyOf ?? []), ...(schema.allOf ?? [])]) eachKey(part, visit, place);
  if (schema.items !== undefined) eachKey(schema.items, visit, `${place}[]`);
  for (const [name, key] of Object.entries(schema.properties ?? {})) {
    const below = place === '' ? name : `${place}.${name}`;
    visit(below, key, schema.required?.includes(name) === true);
    eachKey(key, visit, below);
  }
  if (typeof schema.additionalProperties === 'object') eachKey(schema.additionalProperties, visit, `${place}.NAME`);
  for (const [name, definition] of Object.entries(schema.definitions ?? {})) eachKey(definition, visit, name);
}
