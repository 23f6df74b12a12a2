/**
 * Copying inside the world. JavaScript copies shared memory word by word with relaxed atomics (17-25 GB/s); WebAssembly's
 * memory.copy is the C library's memmove (35-45 GB/s) and costs less to call. The module is a dozen instructions,
 * written here as octets; where it cannot be made the answer is the same, only slower.
 */

/** Copy `length` octets from world offset `from` to `to`; the ranges may overlap. Both must lie inside the world. */
export type Copy = (to: number, from: number, length: number) => void;

/**
 * (module
 *   (import "e" "m" (memory 1 65536 shared))
 *   (func (export "copy") (param i32 i32 i32)
 *     (memory.copy (local.get 0) (local.get 1) (local.get 2))))
 */
// biome-ignore format: one section per line
const MODULE = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x07, 0x01, 0x60, 0x03, 0x7f, 0x7f, 0x7f, 0x00, // type: (i32, i32, i32) -> ()
  0x02, 0x0b, 0x01, 0x01, 0x65, 0x01, 0x6d, 0x02, 0x03, 0x01, 0x80, 0x80, 0x04, // import: e.m, shared, 1..65536 pages
  0x03, 0x02, 0x01, 0x00, // function 0 has type 0
  0x07, 0x08, 0x01, 0x04, 0x63, 0x6f, 0x70, 0x79, 0x00, 0x00, // export: "copy"
  0x0a, 0x0e, 0x01, 0x0c, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfc, 0x0a, 0x00, 0x00, 0x0b, // code
);

export function makeCopy(memory: WebAssembly.Memory, u8: Uint8Array): Copy {
  try {
    return new WebAssembly.Instance(new WebAssembly.Module(MODULE), { e: { m: memory } }).exports['copy'] as Copy;
  } catch {
    // A run time that forbids generating code (or lacks bulk memory) still has a data plane.
    return (to, from, length) => {
      u8.copyWithin(to, from, from + length);
    };
  }
}
