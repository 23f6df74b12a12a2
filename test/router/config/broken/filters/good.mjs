export const fromPeer = (route) => route;

export function toPeer(route) {
  return route.med > 10 ? undefined : route;
}

export async function asks(route) {
  return route;
}

export const LIMIT = 10;
