package main

// Cuts a record of the TS->Go ring into IP packets: a super-segment becomes packets of gsoSize octets of payload each,
// as a network card with segmentation offload would do it; any other record is one packet. Checksums are computed from
// scratch. The work can stop and go on after every packet. Does not choose sizes: gsoSize comes with the record.

const (
	maxHeaders = 256
	// wireguard-go's buffers hold 65535 octets: 16 of header before the packet, padding and a tag of 16 behind it.
	maxCutPacket = maxPacket - 64
)

// splitter is the cutting of one record in progress. Its zero value is done.
type splitter struct {
	rec     record
	data    []byte // the record's payload in the ring
	at      int    // next octet of data to send
	ihl     int
	index   int
	pseudo  uint64
	active  bool
	headers [maxHeaders]byte // a copy: the ring's memory belongs to the router
}

// begin takes a record on; false means that its fields do not fit together and nothing must be sent.
func (s *splitter) begin(rec record, data []byte) bool {
	s.active = false
	ihl := headerLen(data)
	if ihl == 0 || len(data) != rec.length {
		return false
	}
	s.rec, s.data, s.at, s.index, s.ihl = rec, data, 0, 0, ihl
	v6 := data[0]>>4 == 6
	if rec.flags&flagGso == 0 {
		if rec.length > maxCutPacket {
			return false
		}
		if rec.flags&flagNeedsCsum != 0 {
			l4 := rec.length - rec.csumStart
			if rec.csumStart < ihl || rec.csumOffset+2 > l4 {
				return false
			}
		}
		s.active = true
		return true
	}
	var l4min int
	switch rec.gsoType {
	case gsoTCPv4, gsoTCPv6:
		if v6 != (rec.gsoType == gsoTCPv6) || (!v6 && data[9] != protoTCP) {
			return false
		}
		l4min = 20
	case gsoUDPL4:
		if !v6 && data[9] != protoUDP {
			return false
		}
		l4min = 8
	default:
		return false
	}
	switch {
	case rec.gsoSize == 0, rec.hdrLen > maxHeaders, rec.hdrLen+rec.gsoSize > maxCutPacket, rec.hdrLen >= rec.length,
		rec.csumStart < ihl, rec.csumStart+l4min > rec.hdrLen, !v6 && rec.csumStart != ihl:
		return false
	}
	copy(s.headers[:], data[:rec.hdrLen])
	l4 := s.headers[rec.csumStart:rec.hdrLen]
	if rec.gsoType == gsoUDPL4 {
		if len(l4) != 8 {
			return false
		}
		s.pseudo = pseudo(s.headers[:], protoUDP)
	} else {
		if int(l4[12]>>4)*4 != len(l4) {
			return false
		}
		s.pseudo = pseudo(s.headers[:], protoTCP)
	}
	s.at = rec.hdrLen
	s.active = true
	return true
}

// next writes the next packet to dst, which has room for it, and returns its length. Call only while active.
func (s *splitter) next(dst []byte) int {
	if s.rec.flags&flagGso == 0 {
		s.active = false
		copy(dst, s.data)
		if s.rec.flags&flagNeedsCsum != 0 {
			putTransportChecksum(dst[:s.rec.length], s.rec.csumStart, s.rec.csumOffset)
		}
		return s.rec.length
	}
	n := min(s.rec.gsoSize, s.rec.length-s.at)
	last := s.at+n == s.rec.length
	total := s.rec.hdrLen + n
	p := dst[:total]
	copy(p, s.headers[:s.rec.hdrLen])
	copy(p[s.rec.hdrLen:], s.data[s.at:s.at+n])
	if p[0]>>4 == 4 {
		putBE16(p[4:], be16(p[4:])+s.index)
	}
	putIPLength(p, s.ihl, total)
	l4 := p[s.rec.csumStart:]
	sumAt := 16
	if s.rec.gsoType == gsoUDPL4 {
		sumAt = 6
		putBE16(l4[4:], len(l4))
	} else {
		seq := be32(l4[4:]) + uint32(s.at-s.rec.hdrLen)
		putBE16(l4[4:], int(seq>>16))
		putBE16(l4[6:], int(seq&0xffff))
		if !last {
			l4[13] &^= tcpFIN | tcpPSH
		}
		if s.index > 0 {
			l4[13] &^= tcpCWR
		}
	}
	l4[sumAt], l4[sumAt+1] = 0, 0
	c := ^fold(sum(l4, addLength(s.pseudo, len(l4))))
	if c == 0 && s.rec.gsoType == gsoUDPL4 {
		c = 0xffff
	}
	putBE16(l4[sumAt:], int(c))
	s.at += n
	s.index++
	s.active = !last
	return total
}

// segments is how many packets the record still makes.
func (s *splitter) segments() int {
	switch {
	case !s.active:
		return 0
	case s.rec.flags&flagGso == 0:
		return 1
	}
	return (s.rec.length - s.at + s.rec.gsoSize - 1) / s.rec.gsoSize
}

// putTransportChecksum computes the checksum of a whole packet whose transport header starts at start. The protocol
// follows from where its checksum field lies; ICMP for IPv4 has no pseudo header (RFC 792).
func putTransportChecksum(p []byte, start, offset int) {
	l4 := p[start:]
	l4[offset], l4[offset+1] = 0, 0
	var proto byte
	switch {
	case p[0]>>4 == 4:
		proto = p[9]
	case offset == 16:
		proto = protoTCP
	case offset == 6:
		proto = protoUDP
	default:
		proto = protoICMPv6
	}
	var acc uint64
	if proto != protoICMP {
		acc = addLength(pseudo(p, proto), len(l4))
	}
	c := ^fold(sum(l4, acc))
	if c == 0 && proto == protoUDP {
		c = 0xffff
	}
	putBE16(l4[offset:], int(c))
}
