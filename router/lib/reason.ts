/** Why something that was asked of the system failed, in words. */

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
  EEXIST: 'a file is in its place',
  ENOTDIR: 'a part of the path is no folder',
  ENOSPC: 'no space is left there',
  EROFS: 'it is on a read-only file system',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'connection timed out',
  ENOTFOUND: 'the name has no address',
  EAI_AGAIN: 'the name cannot be resolved now',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'it is not UTF-8',
};

/** `no such file`; the code where there are no words for it, the message where there is no code. */
export function systemReason(e: unknown): string {
  if (!(e instanceof Error)) return String(e);
  const { code } = e as NodeJS.ErrnoException;
  return code === undefined ? e.message : (WORDS[code] ?? code);
}
