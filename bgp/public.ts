/** What users of a speaker (`mlshim/bgp`) need beside the speaker itself. */

export { Addr, type Family, Prefix } from '../router/lib/addr.ts';
export { type Clock, type Instant, systemClock } from '../router/lib/clock.ts';
export type { BfdAuth, BfdAuthType, Digest } from './bfd/auth.ts';
export {
  BFD_MULTIHOP_PORT,
  BFD_PORT,
  BFD_TTL,
  Bfd,
  type BfdChange,
  type BfdDatagram,
  type BfdDrop,
  type BfdOptions,
  type BfdPort,
  type BfdTarget,
  type BfdView,
} from './bfd/bfd.ts';
export type { BfdState } from './bfd/packet.ts';
export type { BfdSettings } from './bfd/session.ts';
export { type Driven, drive, type Schedule } from './drive.ts';
export type { RemovePrivateAs } from './export.ts';
export type { AsMatch, Role } from './fsm/negotiate.ts';
export type { SpeakerEvent } from './inbox.ts';
export type { Crossing, MaxPrefixes } from './limits.ts';
export type { MrtCursor } from './monitor/dump.ts';
export type { Monitor, MonitoredSession } from './monitor/monitor.ts';
export type { AggregateConfig, Network, OwnAttributes } from './origination.ts';
export type { RestartSettings } from './peer.ts';
export type { PeerConfig } from './peer-config.ts';
export type { Decision } from './policy/filter.ts';
export type { FilterPeer, FilterRoute, RouteFunction } from './policy/module.ts';
export type * from './policy/rule.ts';
export { RoaState } from './policy/rule.ts';
export type * from './ports.ts';
export type { RouteCursor, RouteEntry, RoutePage, RouteQuery } from './query.ts';
export type { RangeConfig } from './ranges.ts';
export type { SpeakerSettings } from './reconfigure.ts';
export type { Confederation, LocalAs } from './relation.ts';
export type { Restarting } from './restart.ts';
export type { Multipath } from './rib/multipath.ts';
export { changesOf, eachRoute, type RouteChange } from './routes.ts';
export { VrpLoader } from './rpki/loader.ts';
export { parseRoas, RoaFileError, RoaFileReader } from './rpki/roa-file.ts';
export { ROA_STATE_TEXT, type RoaSource, RoaTable, type VrpUpdate } from './rpki/roa-table.ts';
export { type RtrAction, RtrClient, type RtrEvent, type RtrState, type RtrTimers } from './rpki/rtr.ts';
export { RTR_ERROR_TEXT, RtrError } from './rpki/rtr-pdu.ts';
export { type Vrp, VrpList } from './rpki/vrp.ts';
export type { CandidateView, PeerView, RouteView } from './show.ts';
export type { SpeakerOptions } from './speaker-options.ts';
export type { TellingView } from './telling.ts';
export type { LinkLocalForm } from './wire/attribute/mp-reach.ts';
export type { FamilyName } from './wire/family.ts';
