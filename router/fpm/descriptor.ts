/** Made from fpm.proto by make-descriptor.mjs; do not edit. */
// biome-ignore format: generated
export const DESCRIPTOR = {
 "nested": {
  "fpm": {
   "nested": {
    "AddressFamily": {
     "edition": "proto2",
     "values": {
      "UNKNOWN_AF": 0,
      "IPV4": 1,
      "IPV6": 2
     }
    },
    "SubAddressFamily": {
     "edition": "proto2",
     "values": {
      "UNKNOWN_SAF": 0,
      "UNICAST": 1,
      "MULTICAST": 2
     }
    },
    "Protocol": {
     "edition": "proto2",
     "values": {
      "UNKNOWN_PROTO": 0,
      "LOCAL": 1,
      "CONNECTED": 2,
      "KERNEL": 3,
      "STATIC": 4,
      "RIP": 5,
      "RIPNG": 6,
      "OSPF": 7,
      "ISIS": 8,
      "BGP": 9,
      "OTHER": 10
     }
    },
    "RouteType": {
     "edition": "proto2",
     "values": {
      "UNKNOWN": 0,
      "NORMAL": 1,
      "UNREACHABLE": 2,
      "BLACKHOLE": 3
     }
    },
    "Ipv4Address": {
     "edition": "proto2",
     "fields": {
      "value": {
       "rule": "required",
       "type": "fixed32",
       "id": 1
      }
     }
    },
    "Ipv6Address": {
     "edition": "proto2",
     "fields": {
      "bytes": {
       "rule": "required",
       "type": "bytes",
       "id": 1
      }
     }
    },
    "L3Address": {
     "edition": "proto2",
     "fields": {
      "v4": {
       "type": "Ipv4Address",
       "id": 1
      },
      "v6": {
       "type": "Ipv6Address",
       "id": 2
      }
     }
    },
    "L3Prefix": {
     "edition": "proto2",
     "fields": {
      "length": {
       "rule": "required",
       "type": "uint32",
       "id": 1
      },
      "bytes": {
       "rule": "required",
       "type": "bytes",
       "id": 2
      }
     }
    },
    "IfIdentifier": {
     "edition": "proto2",
     "fields": {
      "index": {
       "type": "uint32",
       "id": 1
      },
      "name": {
       "type": "string",
       "id": 2
      }
     }
    },
    "Nexthop": {
     "edition": "proto2",
     "fields": {
      "if_id": {
       "type": "IfIdentifier",
       "id": 2
      },
      "address": {
       "type": "L3Address",
       "id": 3
      }
     }
    },
    "RouteKey": {
     "edition": "proto2",
     "fields": {
      "prefix": {
       "type": "L3Prefix",
       "id": 1
      }
     }
    },
    "DeleteRoute": {
     "edition": "proto2",
     "fields": {
      "vrf_id": {
       "rule": "required",
       "type": "uint32",
       "id": 1
      },
      "address_family": {
       "rule": "required",
       "type": "AddressFamily",
       "id": 2
      },
      "sub_address_family": {
       "rule": "required",
       "type": "SubAddressFamily",
       "id": 3
      },
      "key": {
       "rule": "required",
       "type": "RouteKey",
       "id": 4
      }
     }
    },
    "AddRoute": {
     "edition": "proto2",
     "fields": {
      "vrf_id": {
       "rule": "required",
       "type": "uint32",
       "id": 1
      },
      "address_family": {
       "rule": "required",
       "type": "AddressFamily",
       "id": 2
      },
      "sub_address_family": {
       "rule": "required",
       "type": "SubAddressFamily",
       "id": 3
      },
      "key": {
       "rule": "required",
       "type": "RouteKey",
       "id": 4
      },
      "route_type": {
       "type": "RouteType",
       "id": 5
      },
      "protocol": {
       "rule": "required",
       "type": "Protocol",
       "id": 6
      },
      "metric": {
       "rule": "required",
       "type": "int32",
       "id": 8
      },
      "nexthops": {
       "rule": "repeated",
       "type": "Nexthop",
       "id": 9
      }
     }
    },
    "Message": {
     "edition": "proto2",
     "fields": {
      "type": {
       "type": "Type",
       "id": 1
      },
      "add_route": {
       "type": "AddRoute",
       "id": 2
      },
      "delete_route": {
       "type": "DeleteRoute",
       "id": 3
      }
     },
     "nested": {
      "Type": {
       "values": {
        "UNKNOWN_MSG": 0,
        "ADD_ROUTE": 1,
        "DELETE_ROUTE": 2
       }
      }
     }
    }
   }
  }
 }
};
