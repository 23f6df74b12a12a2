/** Why something that was asked of the system failed, in words. */

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  EEXIST: 'a file is in its place',
  ENOTDIR: 'a part of the path is no folder',
  ENOSPC: 'no space is left there',
  EROFS: 'it is on a read-only file system',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8',
};

/** `no such file`; the code where there are no words for it, the message where there is no code. */
export function systemReason(e: unknown): string {
  if (!(e instanceof Error)) return String(e);
  const { code } = e as NodeJS.ErrnoException;
  return code === undefined ? e.message : (WORDS[code] ?? code);
}
