/** Made from control.proto by make-descriptor.mjs; do not edit. */
// biome-ignore format: generated
export const DESCRIPTOR = {
 "nested": {
  "mlshim": {
   "nested": {
    "Request": {
     "oneofs": {
      "verb": {
       "oneof": [
        "status",
        "route_get",
        "route_show",
        "bgp_show",
        "bgp_routes",
        "bgp_explain",
        "wg_show",
        "capture",
        "down",
        "bgp_peer",
        "reload",
        "confirm",
        "bgp_watch",
        "bgp_rpki",
        "bfd_show",
        "bgp_dump",
        "uplink_drain",
        "bgp_vpn",
        "join_group"
       ]
      }
     },
     "fields": {
      "id": {
       "type": "uint32",
       "id": 1
      },
      "status": {
       "type": "Empty",
       "id": 2
      },
      "route_get": {
       "type": "RouteGet",
       "id": 3
      },
      "route_show": {
       "type": "RouteShow",
       "id": 4
      },
      "bgp_show": {
       "type": "BgpShow",
       "id": 5
      },
      "bgp_routes": {
       "type": "BgpRoutesQuery",
       "id": 6
      },
      "bgp_explain": {
       "type": "BgpExplainQuery",
       "id": 7
      },
      "wg_show": {
       "type": "WgShow",
       "id": 8
      },
      "capture": {
       "type": "CaptureQuery",
       "id": 9
      },
      "down": {
       "type": "Down",
       "id": 10
      },
      "bgp_peer": {
       "type": "BgpPeerCommand",
       "id": 11
      },
      "reload": {
       "type": "ReloadCommand",
       "id": 12
      },
      "confirm": {
       "type": "Empty",
       "id": 13
      },
      "bgp_watch": {
       "type": "Empty",
       "id": 14
      },
      "bgp_rpki": {
       "type": "BgpRpkiQuery",
       "id": 40
      },
      "bfd_show": {
       "type": "Empty",
       "id": 50
      },
      "bgp_dump": {
       "type": "BgpDumpQuery",
       "id": 60
      },
      "uplink_drain": {
       "type": "UplinkDrain",
       "id": 70
      },
      "bgp_vpn": {
       "type": "BgpVpnQuery",
       "id": 80
      },
      "join_group": {
       "type": "JoinGroup",
       "id": 90
      }
     }
    },
    "Response": {
     "oneofs": {
      "body": {
       "oneof": [
        "status",
        "route",
        "routes",
        "bgp_peers",
        "bgp_routes",
        "bgp_explanation",
        "wg_devices",
        "captured",
        "done",
        "reloaded",
        "bgp_events",
        "rpki",
        "bfd_sessions",
        "bgp_dump",
        "bgp_vpn",
        "stopping"
       ]
      }
     },
     "fields": {
      "id": {
       "type": "uint32",
       "id": 1
      },
      "more": {
       "type": "bool",
       "id": 2
      },
      "failure": {
       "type": "Failure",
       "id": 3
      },
      "status": {
       "type": "Status",
       "id": 4
      },
      "route": {
       "type": "RouteAnswer",
       "id": 5
      },
      "routes": {
       "type": "Routes",
       "id": 6
      },
      "bgp_peers": {
       "type": "BgpPeers",
       "id": 7
      },
      "bgp_routes": {
       "type": "BgpRoutes",
       "id": 8
      },
      "bgp_explanation": {
       "type": "BgpExplanation",
       "id": 9
      },
      "wg_devices": {
       "type": "WgDevices",
       "id": 10
      },
      "captured": {
       "type": "Captured",
       "id": 11
      },
      "done": {
       "type": "Empty",
       "id": 12
      },
      "reloaded": {
       "type": "Reloaded",
       "id": 13
      },
      "bgp_events": {
       "type": "BgpEvents",
       "id": 14
      },
      "rpki": {
       "type": "Rpki",
       "id": 40
      },
      "bfd_sessions": {
       "type": "BfdSessions",
       "id": 50
      },
      "bgp_dump": {
       "type": "BgpDump",
       "id": 60
      },
      "bgp_vpn": {
       "type": "BgpVpnRoutes",
       "id": 80
      },
      "stopping": {
       "type": "Stopping",
       "id": 90
      }
     }
    },
    "Empty": {
     "fields": {}
    },
    "Down": {
     "fields": {
      "keep": {
       "type": "bool",
       "id": 1
      }
     }
    },
    "Stopping": {
     "fields": {
      "pid": {
       "type": "uint32",
       "id": 1
      },
      "routing_hangs": {
       "type": "bool",
       "id": 2
      }
     }
    },
    "JoinGroup": {
     "fields": {
      "group": {
       "type": "string",
       "id": 1
      }
     }
    },
    "Failure": {
     "fields": {
      "code": {
       "type": "string",
       "id": 1
      },
      "message": {
       "type": "string",
       "id": 2
      },
      "hint": {
       "type": "string",
       "id": 3
      },
      "exit": {
       "type": "uint32",
       "id": 4
      }
     }
    },
    "Status": {
     "oneofs": {
      "_fpm": {
       "oneof": [
        "fpm"
       ]
      }
     },
     "fields": {
      "version": {
       "type": "string",
       "id": 1
      },
      "pid": {
       "type": "uint32",
       "id": 2
      },
      "uptime_s": {
       "type": "double",
       "id": 3
      },
      "state": {
       "type": "string",
       "id": 4
      },
      "config": {
       "type": "string",
       "id": 5
      },
      "apps": {
       "type": "uint32",
       "id": 6
      },
      "flows": {
       "type": "uint32",
       "id": 7
      },
      "routes_ipv4": {
       "type": "uint32",
       "id": 8
      },
      "routes_ipv6": {
       "type": "uint32",
       "id": 9
      },
      "problems": {
       "rule": "repeated",
       "type": "Problem",
       "id": 10
      },
      "uplinks": {
       "rule": "repeated",
       "type": "Uplink",
       "id": 11
      },
      "bgp_peers": {
       "rule": "repeated",
       "type": "BgpPeer",
       "id": 12
      },
      "drops": {
       "keyType": "string",
       "type": "double",
       "id": 13
      },
      "counters": {
       "keyType": "string",
       "type": "double",
       "id": 14
      },
      "shim_socket": {
       "type": "string",
       "id": 15
      },
      "backend": {
       "type": "string",
       "id": 16
      },
      "backend_reason": {
       "type": "string",
       "id": 17
      },
      "fpm": {
       "type": "Fpm",
       "id": 30,
       "options": {
        "proto3_optional": true
       }
      }
     }
    },
    "Fpm": {
     "oneofs": {
      "_since_s": {
       "oneof": [
        "since_s"
       ]
      }
     },
     "fields": {
      "listen": {
       "type": "string",
       "id": 1
      },
      "state": {
       "type": "string",
       "id": 2
      },
      "client": {
       "type": "string",
       "id": 3
      },
      "encoding": {
       "type": "string",
       "id": 4
      },
      "since_s": {
       "type": "double",
       "id": 5,
       "options": {
        "proto3_optional": true
       }
      },
      "routes": {
       "type": "double",
       "id": 6
      },
      "unresolved": {
       "type": "double",
       "id": 7
      },
      "stale": {
       "type": "double",
       "id": 8
      },
      "next_hops": {
       "type": "double",
       "id": 9
      },
      "messages": {
       "type": "double",
       "id": 10
      },
      "unknown": {
       "type": "double",
       "id": 11
      },
      "malformed": {
       "type": "double",
       "id": 12
      },
      "ignored": {
       "type": "double",
       "id": 13
      },
      "last_error": {
       "type": "string",
       "id": 14
      }
     }
    },
    "Problem": {
     "fields": {
      "code": {
       "type": "string",
       "id": 1
      },
      "text": {
       "type": "string",
       "id": 2
      }
     }
    },
    "Uplink": {
     "oneofs": {
      "_handshake_age_s": {
       "oneof": [
        "handshake_age_s"
       ]
      },
      "_rtt_ms": {
       "oneof": [
        "rtt_ms"
       ]
      },
      "_loss": {
       "oneof": [
        "loss"
       ]
      },
      "_rtt_variation_ms": {
       "oneof": [
        "rtt_variation_ms"
       ]
      }
     },
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "kind": {
       "type": "string",
       "id": 2
      },
      "state": {
       "type": "string",
       "id": 3
      },
      "index": {
       "type": "uint32",
       "id": 4
      },
      "mtu": {
       "type": "uint32",
       "id": 5
      },
      "addresses": {
       "rule": "repeated",
       "type": "string",
       "id": 6
      },
      "rx_packets": {
       "type": "double",
       "id": 7
      },
      "rx_bytes": {
       "type": "double",
       "id": 8
      },
      "tx_packets": {
       "type": "double",
       "id": 9
      },
      "tx_bytes": {
       "type": "double",
       "id": 10
      },
      "tx_dropped": {
       "type": "double",
       "id": 11
      },
      "rx_bits_per_s": {
       "type": "double",
       "id": 12
      },
      "tx_bits_per_s": {
       "type": "double",
       "id": 13
      },
      "handshake_age_s": {
       "type": "double",
       "id": 14,
       "options": {
        "proto3_optional": true
       }
      },
      "usable": {
       "type": "bool",
       "id": 15
      },
      "drained": {
       "type": "bool",
       "id": 16
      },
      "rtt_ms": {
       "type": "double",
       "id": 17,
       "options": {
        "proto3_optional": true
       }
      },
      "loss": {
       "type": "double",
       "id": 18,
       "options": {
        "proto3_optional": true
       }
      },
      "flows": {
       "type": "uint32",
       "id": 19
      },
      "decisions": {
       "type": "double",
       "id": 40
      },
      "failures": {
       "type": "double",
       "id": 41
      },
      "rtt_variation_ms": {
       "type": "double",
       "id": 42,
       "options": {
        "proto3_optional": true
       }
      },
      "peak_bits_per_s": {
       "type": "double",
       "id": 43
      },
      "reason": {
       "type": "string",
       "id": 44
      }
     }
    },
    "UplinkDrain": {
     "fields": {
      "uplink": {
       "type": "string",
       "id": 1
      },
      "drained": {
       "type": "bool",
       "id": 2
      }
     }
    },
    "RouteGet": {
     "fields": {
      "dst": {
       "type": "string",
       "id": 1
      },
      "vrf": {
       "type": "string",
       "id": 2
      }
     }
    },
    "RouteAnswer": {
     "fields": {
      "dst": {
       "type": "string",
       "id": 1
      },
      "kind": {
       "type": "string",
       "id": 2
      },
      "next_hops": {
       "rule": "repeated",
       "type": "NextHop",
       "id": 3
      },
      "source": {
       "type": "string",
       "id": 4
      },
      "mtu": {
       "type": "uint32",
       "id": 5
      },
      "prefix": {
       "type": "string",
       "id": 6
      },
      "origin": {
       "type": "string",
       "id": 7
      },
      "reasons": {
       "rule": "repeated",
       "type": "string",
       "id": 8
      }
     }
    },
    "NextHop": {
     "fields": {
      "gateway": {
       "type": "string",
       "id": 1
      },
      "uplink": {
       "type": "string",
       "id": 2
      },
      "weight": {
       "type": "uint32",
       "id": 3
      }
     }
    },
    "RouteShow": {
     "fields": {
      "origin": {
       "type": "string",
       "id": 1
      },
      "vrf": {
       "type": "string",
       "id": 2
      },
      "from": {
       "type": "string",
       "id": 3
      }
     }
    },
    "Route": {
     "fields": {
      "prefix": {
       "type": "string",
       "id": 1
      },
      "kind": {
       "type": "string",
       "id": 2
      },
      "origin": {
       "type": "string",
       "id": 3
      },
      "next_hops": {
       "rule": "repeated",
       "type": "NextHop",
       "id": 4
      },
      "detail": {
       "type": "string",
       "id": 5
      }
     }
    },
    "Routes": {
     "fields": {
      "routes": {
       "rule": "repeated",
       "type": "Route",
       "id": 1
      },
      "next": {
       "type": "string",
       "id": 2
      }
     }
    },
    "BgpShow": {
     "fields": {
      "peer": {
       "type": "string",
       "id": 1
      }
     }
    },
    "BgpPeer": {
     "oneofs": {
      "_since_s": {
       "oneof": [
        "since_s"
       ]
      },
      "_latency_ms": {
       "oneof": [
        "latency_ms"
       ]
      },
      "_latency_class": {
       "oneof": [
        "latency_class"
       ]
      },
      "_last_error_age_s": {
       "oneof": [
        "last_error_age_s"
       ]
      }
     },
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "asn": {
       "type": "uint32",
       "id": 2
      },
      "address": {
       "type": "string",
       "id": 3
      },
      "uplink": {
       "type": "string",
       "id": 4
      },
      "state": {
       "type": "string",
       "id": 5
      },
      "since_s": {
       "type": "double",
       "id": 6,
       "options": {
        "proto3_optional": true
       }
      },
      "received": {
       "type": "uint32",
       "id": 7
      },
      "accepted": {
       "type": "uint32",
       "id": 8
      },
      "advertised": {
       "type": "uint32",
       "id": 9
      },
      "last_error": {
       "type": "string",
       "id": 10
      },
      "local_address": {
       "type": "string",
       "id": 11
      },
      "hold_time_s": {
       "type": "uint32",
       "id": 12
      },
      "keepalive_s": {
       "type": "uint32",
       "id": 13
      },
      "capabilities": {
       "rule": "repeated",
       "type": "string",
       "id": 14
      },
      "remote_id": {
       "type": "string",
       "id": 15
      },
      "messages_in": {
       "type": "double",
       "id": 16
      },
      "messages_out": {
       "type": "double",
       "id": 17
      },
      "latency_ms": {
       "type": "double",
       "id": 60,
       "options": {
        "proto3_optional": true
       }
      },
      "latency_class": {
       "type": "uint32",
       "id": 61,
       "options": {
        "proto3_optional": true
       }
      },
      "bfd": {
       "type": "string",
       "id": 40
      },
      "stale": {
       "type": "uint32",
       "id": 50
      },
      "restart": {
       "rule": "repeated",
       "type": "string",
       "id": 51
      },
      "local_capabilities": {
       "rule": "repeated",
       "type": "string",
       "id": 52
      },
      "families": {
       "rule": "repeated",
       "type": "BgpFamily",
       "id": 70
      },
      "timers_s": {
       "keyType": "string",
       "type": "double",
       "id": 71
      },
      "faults": {
       "type": "double",
       "id": 72
      },
      "last_fault": {
       "type": "string",
       "id": 73
      },
      "establishments": {
       "type": "uint32",
       "id": 74
      },
      "last_error_origin": {
       "type": "string",
       "id": 75
      },
      "last_error_age_s": {
       "type": "double",
       "id": 76,
       "options": {
        "proto3_optional": true
       }
      },
      "import_policy": {
       "type": "string",
       "id": 77
      },
      "export_policy": {
       "type": "string",
       "id": 78
      },
      "description": {
       "type": "string",
       "id": 79
      },
      "retry_error": {
       "type": "string",
       "id": 80
      },
      "filter_errors": {
       "type": "double",
       "id": 81
      },
      "last_filter_error": {
       "type": "string",
       "id": 82
      }
     }
    },
    "BfdSession": {
     "fields": {
      "peers": {
       "rule": "repeated",
       "type": "string",
       "id": 1
      },
      "address": {
       "type": "string",
       "id": 2
      },
      "uplink": {
       "type": "string",
       "id": 3
      },
      "local_address": {
       "type": "string",
       "id": 4
      },
      "multihop": {
       "type": "bool",
       "id": 5
      },
      "state": {
       "type": "string",
       "id": 6
      },
      "since_s": {
       "type": "double",
       "id": 7
      },
      "remote_state": {
       "type": "string",
       "id": 8
      },
      "diag": {
       "type": "string",
       "id": 9
      },
      "remote_diag": {
       "type": "string",
       "id": 10
      },
      "tx_ms": {
       "type": "double",
       "id": 11
      },
      "rx_ms": {
       "type": "double",
       "id": 12
      },
      "detection_ms": {
       "type": "double",
       "id": 13
      },
      "multiplier": {
       "type": "uint32",
       "id": 14
      },
      "remote_multiplier": {
       "type": "uint32",
       "id": 15
      },
      "discriminator": {
       "type": "uint32",
       "id": 16
      },
      "remote_discriminator": {
       "type": "uint32",
       "id": 17
      },
      "packets_in": {
       "type": "double",
       "id": 18
      },
      "packets_out": {
       "type": "double",
       "id": 19
      },
      "flaps": {
       "type": "uint32",
       "id": 20
      },
      "auth": {
       "type": "string",
       "id": 21
      }
     }
    },
    "BfdSessions": {
     "fields": {
      "sessions": {
       "rule": "repeated",
       "type": "BfdSession",
       "id": 1
      },
      "drops": {
       "keyType": "string",
       "type": "double",
       "id": 2
      }
     }
    },
    "BgpPeers": {
     "fields": {
      "asn": {
       "type": "uint32",
       "id": 1
      },
      "router_id": {
       "type": "string",
       "id": 2
      },
      "peers": {
       "rule": "repeated",
       "type": "BgpPeer",
       "id": 3
      }
     }
    },
    "BgpRoutesQuery": {
     "fields": {
      "vrf": {
       "type": "string",
       "id": 4
      },
      "table": {
       "type": "string",
       "id": 1
      },
      "peer": {
       "type": "string",
       "id": 2
      },
      "prefix": {
       "type": "string",
       "id": 3
      },
      "longer": {
       "type": "bool",
       "id": 5
      },
      "from": {
       "type": "string",
       "id": 6
      },
      "what": {
       "type": "string",
       "id": 7
      }
     }
    },
    "BgpRoute": {
     "oneofs": {
      "_local_pref": {
       "oneof": [
        "local_pref"
       ]
      },
      "_med": {
       "oneof": [
        "med"
       ]
      },
      "_age_s": {
       "oneof": [
        "age_s"
       ]
      },
      "_otc": {
       "oneof": [
        "otc"
       ]
      },
      "_originator_id": {
       "oneof": [
        "originator_id"
       ]
      },
      "_aggregator": {
       "oneof": [
        "aggregator"
       ]
      },
      "_stale": {
       "oneof": [
        "stale"
       ]
      }
     },
     "fields": {
      "prefix": {
       "type": "string",
       "id": 1
      },
      "peer": {
       "type": "string",
       "id": 2
      },
      "best": {
       "type": "bool",
       "id": 3
      },
      "next_hop": {
       "type": "string",
       "id": 4
      },
      "as_path": {
       "type": "string",
       "id": 5
      },
      "origin": {
       "type": "string",
       "id": 6
      },
      "local_pref": {
       "type": "uint32",
       "id": 7,
       "options": {
        "proto3_optional": true
       }
      },
      "med": {
       "type": "uint32",
       "id": 8,
       "options": {
        "proto3_optional": true
       }
      },
      "communities": {
       "rule": "repeated",
       "type": "string",
       "id": 9
      },
      "uplink": {
       "type": "string",
       "id": 10
      },
      "refused": {
       "type": "string",
       "id": 11
      },
      "roa": {
       "type": "string",
       "id": 40
      },
      "age_s": {
       "type": "double",
       "id": 41,
       "options": {
        "proto3_optional": true
       }
      },
      "otc": {
       "type": "uint32",
       "id": 42,
       "options": {
        "proto3_optional": true
       }
      },
      "originator_id": {
       "type": "string",
       "id": 43,
       "options": {
        "proto3_optional": true
       }
      },
      "cluster_list": {
       "rule": "repeated",
       "type": "string",
       "id": 44
      },
      "aggregator": {
       "type": "BgpAggregator",
       "id": 45,
       "options": {
        "proto3_optional": true
       }
      },
      "stale": {
       "type": "bool",
       "id": 46,
       "options": {
        "proto3_optional": true
       }
      }
     }
    },
    "BgpAggregator": {
     "fields": {
      "asn": {
       "type": "uint32",
       "id": 1
      },
      "address": {
       "type": "string",
       "id": 2
      }
     }
    },
    "BgpRoutes": {
     "fields": {
      "routes": {
       "rule": "repeated",
       "type": "BgpRoute",
       "id": 1
      },
      "next": {
       "type": "string",
       "id": 2
      },
      "place": {
       "type": "string",
       "id": 3
      }
     }
    },
    "BgpDumpQuery": {
     "fields": {
      "vrf": {
       "type": "string",
       "id": 1
      },
      "from": {
       "type": "string",
       "id": 2
      }
     }
    },
    "BgpDump": {
     "fields": {
      "mrt": {
       "type": "bytes",
       "id": 1
      },
      "next": {
       "type": "string",
       "id": 2
      }
     }
    },
    "BgpFamily": {
     "fields": {
      "family": {
       "type": "string",
       "id": 1
      },
      "received": {
       "type": "uint32",
       "id": 2
      },
      "accepted": {
       "type": "uint32",
       "id": 3
      },
      "advertised": {
       "type": "uint32",
       "id": 4
      },
      "stale": {
       "type": "uint32",
       "id": 5
      },
      "next_hop": {
       "type": "string",
       "id": 6
      }
     }
    },
    "BgpRule": {
     "fields": {
      "policy": {
       "type": "string",
       "id": 1
      },
      "list": {
       "type": "string",
       "id": 2
      },
      "number": {
       "type": "uint32",
       "id": 3
      },
      "name": {
       "type": "string",
       "id": 4
      },
      "place": {
       "type": "string",
       "id": 5
      },
      "error": {
       "type": "string",
       "id": 6
      }
     }
    },
    "BgpTelling": {
     "oneofs": {
      "_rule": {
       "oneof": [
        "rule"
       ]
      }
     },
     "fields": {
      "peer": {
       "type": "string",
       "id": 1
      },
      "told": {
       "type": "bool",
       "id": 2
      },
      "routes": {
       "rule": "repeated",
       "type": "BgpRoute",
       "id": 3
      },
      "why": {
       "type": "string",
       "id": 4
      },
      "rule": {
       "type": "BgpRule",
       "id": 5,
       "options": {
        "proto3_optional": true
       }
      },
      "vpn": {
       "rule": "repeated",
       "type": "BgpVpnTelling",
       "id": 6
      }
     }
    },
    "BgpVpnTelling": {
     "oneofs": {
      "_told_as": {
       "oneof": [
        "told_as"
       ]
      },
      "_rule": {
       "oneof": [
        "rule"
       ]
      }
     },
     "fields": {
      "route": {
       "type": "BgpVpnRoute",
       "id": 1
      },
      "told": {
       "type": "bool",
       "id": 2
      },
      "told_as": {
       "type": "BgpVpnRoute",
       "id": 3,
       "options": {
        "proto3_optional": true
       }
      },
      "why": {
       "type": "string",
       "id": 4
      },
      "rule": {
       "type": "BgpRule",
       "id": 5,
       "options": {
        "proto3_optional": true
       }
      }
     }
    },
    "BgpExplainQuery": {
     "fields": {
      "prefix": {
       "type": "string",
       "id": 1
      },
      "vrf": {
       "type": "string",
       "id": 2
      },
      "to": {
       "type": "string",
       "id": 3
      }
     }
    },
    "BgpExplanation": {
     "oneofs": {
      "_telling": {
       "oneof": [
        "telling"
       ]
      }
     },
     "fields": {
      "prefix": {
       "type": "string",
       "id": 1
      },
      "candidates": {
       "rule": "repeated",
       "type": "BgpCandidate",
       "id": 2
      },
      "roas": {
       "rule": "repeated",
       "type": "string",
       "id": 3
      },
      "telling": {
       "type": "BgpTelling",
       "id": 4,
       "options": {
        "proto3_optional": true
       }
      },
      "imports": {
       "rule": "repeated",
       "type": "BgpVpnImport",
       "id": 5
      }
     }
    },
    "BgpVpnImport": {
     "oneofs": {
      "_rule": {
       "oneof": [
        "rule"
       ]
      }
     },
     "fields": {
      "route": {
       "type": "BgpVpnRoute",
       "id": 1
      },
      "imported": {
       "type": "bool",
       "id": 2
      },
      "why": {
       "type": "string",
       "id": 3
      },
      "rule": {
       "type": "BgpRule",
       "id": 4,
       "options": {
        "proto3_optional": true
       }
      }
     }
    },
    "BgpCandidate": {
     "oneofs": {
      "_rule": {
       "oneof": [
        "rule"
       ]
      }
     },
     "fields": {
      "route": {
       "type": "BgpRoute",
       "id": 1
      },
      "lost_by": {
       "type": "string",
       "id": 2
      },
      "rule": {
       "type": "BgpRule",
       "id": 3,
       "options": {
        "proto3_optional": true
       }
      }
     }
    },
    "BgpPeerCommand": {
     "fields": {
      "peer": {
       "type": "string",
       "id": 1
      },
      "action": {
       "type": "string",
       "id": 2
      },
      "text": {
       "type": "string",
       "id": 3
      },
      "direction": {
       "type": "string",
       "id": 4
      }
     }
    },
    "BgpRpkiQuery": {
     "fields": {
      "action": {
       "type": "string",
       "id": 1
      }
     }
    },
    "Rpki": {
     "fields": {
      "vrps_ipv4": {
       "type": "uint32",
       "id": 1
      },
      "vrps_ipv6": {
       "type": "uint32",
       "id": 2
      },
      "loading": {
       "type": "bool",
       "id": 3
      },
      "revalidated": {
       "type": "double",
       "id": 4
      },
      "servers": {
       "rule": "repeated",
       "type": "RpkiServer",
       "id": 5
      },
      "files": {
       "rule": "repeated",
       "type": "RpkiFile",
       "id": 6
      },
      "not_refreshed": {
       "rule": "repeated",
       "type": "string",
       "id": 7
      }
     }
    },
    "RpkiServer": {
     "oneofs": {
      "_session_id": {
       "oneof": [
        "session_id"
       ]
      },
      "_serial": {
       "oneof": [
        "serial"
       ]
      },
      "_updated_s": {
       "oneof": [
        "updated_s"
       ]
      },
      "_expires_s": {
       "oneof": [
        "expires_s"
       ]
      }
     },
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "uplink": {
       "type": "string",
       "id": 2
      },
      "preference": {
       "type": "uint32",
       "id": 3
      },
      "state": {
       "type": "string",
       "id": 4
      },
      "version": {
       "type": "uint32",
       "id": 5
      },
      "session_id": {
       "type": "uint32",
       "id": 6,
       "options": {
        "proto3_optional": true
       }
      },
      "serial": {
       "type": "uint32",
       "id": 7,
       "options": {
        "proto3_optional": true
       }
      },
      "vrps": {
       "type": "uint32",
       "id": 8
      },
      "updated_s": {
       "type": "double",
       "id": 9,
       "options": {
        "proto3_optional": true
       }
      },
      "expires_s": {
       "type": "double",
       "id": 10,
       "options": {
        "proto3_optional": true
       }
      },
      "last_error": {
       "type": "string",
       "id": 11
      }
     }
    },
    "RpkiFile": {
     "oneofs": {
      "_read_s": {
       "oneof": [
        "read_s"
       ]
      },
      "_age_s": {
       "oneof": [
        "age_s"
       ]
      }
     },
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "vrps": {
       "type": "uint32",
       "id": 2
      },
      "read_s": {
       "type": "double",
       "id": 3,
       "options": {
        "proto3_optional": true
       }
      },
      "age_s": {
       "type": "double",
       "id": 4,
       "options": {
        "proto3_optional": true
       }
      },
      "failures": {
       "type": "uint32",
       "id": 5
      },
      "last_error": {
       "type": "string",
       "id": 6
      }
     }
    },
    "WgShow": {
     "fields": {
      "device": {
       "type": "string",
       "id": 1
      }
     }
    },
    "WgDevice": {
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "public_key": {
       "type": "string",
       "id": 2
      },
      "listen_port": {
       "type": "uint32",
       "id": 3
      },
      "peers": {
       "rule": "repeated",
       "type": "WgPeer",
       "id": 4
      }
     }
    },
    "WgPeer": {
     "oneofs": {
      "_handshake_age_s": {
       "oneof": [
        "handshake_age_s"
       ]
      }
     },
     "fields": {
      "name": {
       "type": "string",
       "id": 1
      },
      "public_key": {
       "type": "string",
       "id": 2
      },
      "has_preshared_key": {
       "type": "bool",
       "id": 3
      },
      "endpoint": {
       "type": "string",
       "id": 4
      },
      "allowed_ips": {
       "rule": "repeated",
       "type": "string",
       "id": 5
      },
      "handshake_age_s": {
       "type": "double",
       "id": 6,
       "options": {
        "proto3_optional": true
       }
      },
      "rx_bytes": {
       "type": "double",
       "id": 7
      },
      "tx_bytes": {
       "type": "double",
       "id": 8
      },
      "keepalive_s": {
       "type": "uint32",
       "id": 9
      }
     }
    },
    "WgDevices": {
     "fields": {
      "devices": {
       "rule": "repeated",
       "type": "WgDevice",
       "id": 1
      }
     }
    },
    "CaptureQuery": {
     "fields": {
      "uplink": {
       "type": "string",
       "id": 1
      },
      "snap_length": {
       "type": "uint32",
       "id": 2
      }
     }
    },
    "Captured": {
     "fields": {
      "pcapng": {
       "type": "bytes",
       "id": 1
      }
     }
    },
    "ReloadCommand": {
     "fields": {
      "check": {
       "type": "bool",
       "id": 1
      },
      "confirm_s": {
       "type": "double",
       "id": 2
      }
     }
    },
    "Reloaded": {
     "fields": {
      "file": {
       "type": "string",
       "id": 1
      },
      "changes": {
       "rule": "repeated",
       "type": "ConfigChange",
       "id": 2
      },
      "applied": {
       "type": "bool",
       "id": 3
      },
      "reverts_in_s": {
       "type": "double",
       "id": 4
      }
     }
    },
    "ConfigChange": {
     "fields": {
      "path": {
       "type": "string",
       "id": 1
      },
      "kind": {
       "type": "string",
       "id": 2
      },
      "before": {
       "type": "string",
       "id": 3
      },
      "after": {
       "type": "string",
       "id": 4
      },
      "effect": {
       "type": "string",
       "id": 5
      }
     }
    },
    "BgpEvents": {
     "fields": {
      "events": {
       "rule": "repeated",
       "type": "BgpEvent",
       "id": 1
      },
      "lost": {
       "type": "uint32",
       "id": 2
      }
     }
    },
    "BgpEvent": {
     "fields": {
      "time_ms": {
       "type": "double",
       "id": 1
      },
      "kind": {
       "type": "string",
       "id": 2
      },
      "peer": {
       "type": "string",
       "id": 3
      },
      "from": {
       "type": "string",
       "id": 4
      },
      "to": {
       "type": "string",
       "id": 5
      },
      "why": {
       "type": "string",
       "id": 6
      },
      "prefix": {
       "type": "string",
       "id": 7
      },
      "as_path": {
       "type": "string",
       "id": 8
      },
      "next_hops": {
       "rule": "repeated",
       "type": "string",
       "id": 9
      }
     }
    },
    "BgpVpnQuery": {
     "fields": {
      "rd": {
       "type": "string",
       "id": 1
      },
      "prefix": {
       "type": "string",
       "id": 2
      },
      "from": {
       "type": "string",
       "id": 3
      }
     }
    },
    "BgpVpnRoute": {
     "oneofs": {
      "_med": {
       "oneof": [
        "med"
       ]
      }
     },
     "fields": {
      "rd": {
       "type": "string",
       "id": 1
      },
      "prefix": {
       "type": "string",
       "id": 2
      },
      "label": {
       "type": "uint32",
       "id": 3
      },
      "next_hop": {
       "type": "string",
       "id": 4
      },
      "peer": {
       "type": "string",
       "id": 5
      },
      "best": {
       "type": "bool",
       "id": 6
      },
      "as_path": {
       "type": "string",
       "id": 7
      },
      "origin": {
       "type": "string",
       "id": 8
      },
      "local_pref": {
       "type": "uint32",
       "id": 9
      },
      "med": {
       "type": "uint32",
       "id": 10,
       "options": {
        "proto3_optional": true
       }
      },
      "targets": {
       "rule": "repeated",
       "type": "string",
       "id": 11
      },
      "communities": {
       "rule": "repeated",
       "type": "string",
       "id": 12
      },
      "vrfs": {
       "rule": "repeated",
       "type": "string",
       "id": 13
      },
      "unreachable": {
       "type": "bool",
       "id": 14
      }
     }
    },
    "BgpVpnRoutes": {
     "fields": {
      "routes": {
       "rule": "repeated",
       "type": "BgpVpnRoute",
       "id": 1
      },
      "next": {
       "type": "string",
       "id": 2
      }
     }
    }
   }
  }
 }
};
