/**
 * Runs in Node's thread for module hooks (node:module `register`): what a filter module imports is read anew with it. A module is
 * known by its URL for as long as the process lives, so what a marked one imports gets the same mark.
 */

interface Found {
  readonly url: string;
}

interface Context {
  readonly parentURL?: string;
}

/** @returns a URL whose module is loaded in the place of others of the same file */
export async function resolve(
  specifier: string,
  context: Context,
  next: (specifier: string, context: Context) => Promise<Found>,
): Promise<Found> {
  const found = await next(specifier, context);
  const mark = /\?(filters=[0-9a-f]+)$/.exec(context.parentURL ?? '')?.[1];
  // Packages are not a configuration's own files.
  if (mark === undefined || !found.url.startsWith('file:') || found.url.includes('/node_modules/')) return found;
  return { ...found, url: `${found.url.replace(/\?.*$/, '')}?${mark}` };
}
