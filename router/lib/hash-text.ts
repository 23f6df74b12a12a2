/** FNV-1a of the UTF-16 code units of a text, as an unsigned word: the same everywhere and after every start. */
export function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
