/**
 * Control messages to octets and back: protobuf bodies in frames of a 32-bit little-endian length. With fpm/protobuf.ts the
 * only importer of protobufjs. Does no I/O: `FrameReader` is fed octets and gives whole bodies.
 */
import protobuf from 'protobufjs/light.js';
import { DESCRIPTOR } from './descriptor.ts';
import { BODY_OF, type Request, type Response, type Verb } from './messages.ts';

/** Largest frame accepted: a full routing table in one answer fits, a confused peer does not exhaust memory. */
export const MAX_FRAME = 256 << 20;

const root = protobuf.Root.fromJSON(DESCRIPTOR as protobuf.INamespace);
const requestType = root.lookupType('mlshim.Request');
const responseType = root.lookupType('mlshim.Response');

const PLAIN = { longs: Number, enums: String, arrays: true, objects: true } as const;

/** The fields of a message of control.proto, such as BgpPeer. @throws Error when there is no such message */
export function fieldNames(message: string): string[] {
  return root.lookupType(`mlshim.${message}`).fieldsArray.map((f) => f.name);
}

/** Defaults are written out inside bodies (JSON consumers see every field), but not for the absent members of a oneof. */
const FILLED = { ...PLAIN, defaults: true } as const;

function frame(type: protobuf.Type, message: object): Uint8Array {
  const body = type.encode(type.fromObject(message)).finish();
  const out = new Uint8Array(4 + body.length);
  new DataView(out.buffer).setUint32(0, body.length, true);
  out.set(body, 4);
  return out;
}

export function encodeRequest(r: Request): Uint8Array {
  return frame(requestType, { id: r.id, [r.verb]: r.args });
}

export function encodeResponse(verb: Verb, r: Response): Uint8Array {
  const body = r.body === undefined ? {} : { [BODY_OF[verb]]: r.body };
  return frame(responseType, { id: r.id, more: r.more, ...(r.failure && { failure: r.failure }), ...body });
}

/** The request in a frame's body; undefined when it is not one of ours. */
export function decodeRequest(body: Uint8Array): Request | undefined {
  try {
    const plain = toPlain(requestType.decode(body));
    const verb = (Object.keys(BODY_OF) as Verb[]).find((v) => plain[v] !== undefined);
    return verb === undefined ? undefined : ({ id: Number(plain['id'] ?? 0), verb, args: plain[verb] } as Request);
  } catch {
    return undefined;
  }
}

/** The response in a frame's body; undefined when it is not one of ours. */
export function decodeResponse(body: Uint8Array): Response | undefined {
  try {
    const plain = toPlain(responseType.decode(body));
    const field = Object.values(BODY_OF).find((f) => plain[f] !== undefined);
    return {
      id: Number(plain['id'] ?? 0),
      more: plain['more'] === true,
      ...(plain['failure'] !== undefined && { failure: plain['failure'] as NonNullable<Response['failure']> }),
      ...(field !== undefined && { body: plain[field] }),
    };
  } catch {
    return undefined;
  }
}

/** A top-level message with its set members only, each of them with all of its fields filled in. */
function toPlain(message: protobuf.Message): Record<string, unknown> {
  const type = message.$type;
  const out: Record<string, unknown> = type.toObject(message, PLAIN);
  for (const field of type.fieldsArray) {
    const below = field.resolve().resolvedType;
    const value = (message as unknown as Record<string, unknown>)[field.name];
    if (below instanceof protobuf.Type && out[field.name] !== undefined)
      out[field.name] = below.toObject(value as protobuf.Message, FILLED);
  }
  return out;
}

/** Cuts a stream of octets into frame bodies. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #length = 0;

  /** Bodies completed by these octets, or undefined when the stream is not ours (a frame above MAX_FRAME). */
  push(octets: Uint8Array): Uint8Array[] | undefined {
    this.#chunks.push(octets);
    this.#length += octets.length;
    const out: Uint8Array[] = [];
    while (this.#length >= 4) {
      const need = 4 + this.#peekLength();
      if (need > MAX_FRAME) return undefined;
      if (this.#length < need) break;
      const all = this.#joined();
      out.push(all.subarray(4, need));
      this.#chunks = all.length > need ? [all.subarray(need)] : [];
      this.#length = all.length - need;
    }
    return out;
  }

  #peekLength(): number {
    if (this.#chunks[0]!.length < 4) this.#chunks = [this.#joined()];
    const c = this.#chunks[0]!;
    return new DataView(c.buffer, c.byteOffset).getUint32(0, true);
  }

  #joined(): Uint8Array {
    if (this.#chunks.length === 1) return this.#chunks[0]!;
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }
}
