package main

// Internet checksums (RFC 1071) and the few header fields that cutting and coalescing need (RFC 791, RFC 8200, RFC 9293,
// RFC 768). Does not validate packets beyond what keeps every access inside the buffer.

import (
	"encoding/binary"
	"math/bits"
)

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpPSH = 0x08
	tcpACK = 0x10
	tcpURG = 0x20
	tcpCWR = 0x80

	ipv4DF = 0x4000
)

// sum adds b to a running one's complement sum in native octet order; b counts as starting at an even octet.
func sum(b []byte, acc uint64) uint64 {
	var c uint64
	for len(b) >= 64 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b), 0)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[8:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[16:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[24:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[32:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[40:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[48:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b[56:]), c)
		acc, c = bits.Add64(acc, 0, c)
		acc += c
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b), 0)
		acc += c
		b = b[8:]
	}
	if len(b) >= 4 {
		acc, c = bits.Add64(acc, uint64(binary.LittleEndian.Uint32(b)), 0)
		acc += c
		b = b[4:]
	}
	if len(b) >= 2 {
		acc, c = bits.Add64(acc, uint64(binary.LittleEndian.Uint16(b)), 0)
		acc += c
		b = b[2:]
	}
	if len(b) == 1 {
		acc, c = bits.Add64(acc, uint64(b[0]), 0)
		acc += c
	}
	return acc
}

// fold reduces a sum to 16 bits in network order, not complemented.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return bits.ReverseBytes16(uint16(acc))
}

// pseudo is the sum of the pseudo header without the length (RFC 9293 §3.1, RFC 8200 §8.1).
func pseudo(ip []byte, proto byte) uint64 {
	acc := uint64(bits.ReverseBytes16(uint16(proto)))
	if ip[0]>>4 == 4 {
		return sum(ip[12:20], acc)
	}
	return sum(ip[8:40], acc)
}

// addLength adds a length to a sum as the pseudo header's length field.
func addLength(acc uint64, n int) uint64 {
	r, c := bits.Add64(acc, uint64(bits.ReverseBytes16(uint16(n))), 0)
	return r + c
}

func be16(b []byte) int { return int(b[0])<<8 | int(b[1]) }

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func putBE16(b []byte, v int) {
	b[0] = byte(v >> 8)
	b[1] = byte(v)
}

// putIPLength writes the packet's length and, for IPv4, the header checksum.
func putIPLength(ip []byte, ihl, length int) {
	if ip[0]>>4 == 6 {
		putBE16(ip[4:], length-40)
		return
	}
	putBE16(ip[2:], length)
	ip[10], ip[11] = 0, 0
	putBE16(ip[10:], int(^fold(sum(ip[:ihl], 0))))
}

// headerLen checks version, header length and total length of an IP packet; 0 means that they do not fit together.
func headerLen(b []byte) int {
	if len(b) < 20 {
		return 0
	}
	switch b[0] >> 4 {
	case 4:
		ihl := int(b[0]&15) * 4
		if ihl < 20 || ihl > len(b) || be16(b[2:]) != len(b) {
			return 0
		}
		return ihl
	case 6:
		if len(b) < 40 || be16(b[4:])+40 != len(b) {
			return 0
		}
		return 40
	}
	return 0
}
