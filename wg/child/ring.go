package main

// The memory shared with the router: one header area and two single-producer single-consumer rings. The layout is
// described in wg/README.md and mirrored by wg/ring-layout.ts; TestLayout and test/wg/ring-layout.test.ts compare them.

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	regionMagic   = 0x4d4c5747 // "MLWG"
	layoutVersion = 1
	headerBytes   = 8192
	ringBytes     = 4 << 20
	minRingBytes  = 256 << 10
	maxRingBytes  = 64 << 20

	offMagic     = 0
	offVersion   = 4
	offRingBytes = 8
	offEpoch     = 64
	offHeartbeat = 128

	// Drop counters, written by the child.
	offDropTxMalformed = 192
	offDropTxNoDevice  = 196
	offDropTxOverflow  = 200
	offDropRxFull      = 204
	offDropRxMalformed = 208
	offPanics          = 212

	// Each ring has four words, each on a cache line of its own.
	offTxHead     = 512
	offTxTail     = 576
	offTxSleeping = 640
	offTxWaiting  = 704
	offRxHead     = 768
	offRxTail     = 832
	offRxSleeping = 896
	offRxWaiting  = 960

	// Per-device words: octets of records taken, and the value of it at which the router wants a signal.
	offDevices  = 1024
	deviceBytes = 8
	maxDevices  = (headerBytes - offDevices) / deviceBytes

	recordAlign  = 16
	recordHeader = 16
	maxPacket    = 65535
	wrapLen      = 0xffffffff

	recLength     = 0
	recFlags      = 4
	recGsoType    = 5
	recHdrLen     = 6
	recGsoSize    = 8
	recCsumStart  = 10
	recCsumOffset = 12
	recDevice     = 14

	flagCsumValid = 1
	flagGso       = 2
	flagNeedsCsum = 4

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoTCPv6 = 2
	gsoUDPL4 = 3
)

// record is a ring record's header by value: once read it can no longer change under the reader's feet.
type record struct {
	length     int
	flags      uint8
	gsoType    uint8
	hdrLen     int
	gsoSize    int
	csumStart  int
	csumOffset int
	device     int
}

// region is the mapped shared memory.
type region struct {
	mem       []byte
	ringBytes uint32
}

var errSettings = errors.New("wrong settings")

// mapRegion maps the memory behind f and checks what the router wrote into its header.
func mapRegion(f *os.File) (*region, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("%w: shared memory: %v", errSettings, err)
	}
	if st.Size < headerBytes || st.Size > headerBytes+2*maxRingBytes+65536 {
		return nil, fmt.Errorf("%w: shared memory has %d octets", errSettings, st.Size)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%w: mmap: %v", errSettings, err)
	}
	return newRegion(mem)
}

// newRegion checks the header of mem; the caller keeps mem alive.
func newRegion(mem []byte) (*region, error) {
	r := &region{mem: mem}
	r.ringBytes = r.word(offRingBytes).Load()
	switch {
	case r.word(offMagic).Load() != regionMagic:
		return nil, fmt.Errorf("%w: shared memory has no ring header", errSettings)
	case r.word(offVersion).Load() != layoutVersion:
		return nil, fmt.Errorf("%w: ring layout version %d, this child speaks %d", errSettings, r.word(offVersion).Load(), layoutVersion)
	case r.ringBytes < minRingBytes || r.ringBytes > maxRingBytes || r.ringBytes&(r.ringBytes-1) != 0:
		return nil, fmt.Errorf("%w: ring of %d octets", errSettings, r.ringBytes)
	case uint64(len(mem)) < headerBytes+2*uint64(r.ringBytes):
		return nil, fmt.Errorf("%w: shared memory has %d octets, two rings of %d do not fit", errSettings, len(mem), r.ringBytes)
	}
	return r, nil
}

// word gives the shared 32-bit word at octet off. Go's atomics are sequentially consistent, as JavaScript's are.
func (r *region) word(off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&r.mem[off]))
}

func (r *region) txData() []byte { return r.mem[headerBytes : headerBytes+int(r.ringBytes)] }

func (r *region) rxData() []byte {
	return r.mem[headerBytes+int(r.ringBytes) : headerBytes+2*int(r.ringBytes)]
}

func (r *region) taken(device int) *atomic.Uint32 {
	return r.word(offDevices + device*deviceBytes)
}

func (r *region) drainTarget(device int) *atomic.Uint32 {
	return r.word(offDevices + device*deviceBytes + 4)
}

func recordSize(length int) uint32 {
	return uint32(recordHeader + (length+recordAlign-1)&^(recordAlign-1))
}

func le16(b []byte) int { return int(b[0]) | int(b[1])<<8 }

func putLE16(b []byte, v int) {
	b[0] = byte(v)
	b[1] = byte(v >> 8)
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func putLE32(b []byte, v uint32) {
	b[0] = byte(v)
	b[1] = byte(v >> 8)
	b[2] = byte(v >> 16)
	b[3] = byte(v >> 24)
}

func readRecord(h []byte) record {
	return record{
		length:     int(le32(h[recLength:])),
		flags:      h[recFlags],
		gsoType:    h[recGsoType],
		hdrLen:     le16(h[recHdrLen:]),
		gsoSize:    le16(h[recGsoSize:]),
		csumStart:  le16(h[recCsumStart:]),
		csumOffset: le16(h[recCsumOffset:]),
		device:     le16(h[recDevice:]),
	}
}

func writeRecord(h []byte, r *record) {
	putLE32(h[recLength:], uint32(r.length))
	h[recFlags] = r.flags
	h[recGsoType] = r.gsoType
	putLE16(h[recHdrLen:], r.hdrLen)
	putLE16(h[recGsoSize:], r.gsoSize)
	putLE16(h[recCsumStart:], r.csumStart)
	putLE16(h[recCsumOffset:], r.csumOffset)
	putLE16(h[recDevice:], r.device)
}

// wake wakes the other side through an eventfd. A full counter (EAGAIN) means that it has been woken already.
func wake(fd int) {
	one := [8]byte{1}
	_, _ = unix.Write(fd, one[:])
}
