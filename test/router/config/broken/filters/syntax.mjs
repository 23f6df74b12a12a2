import { limit } from './imported.mjs';

export const fromPeer = (route) => (route.med > limit ? undefined : route);
