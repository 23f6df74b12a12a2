// mlshim-wg hosts WireGuard devices for one router process. It is started by wg/supervisor.ts with four descriptors:
// 3 control socket, 4 shared memory, 5 eventfd towards us, 6 eventfd towards the router. It has no options, opens no
// files and ends when the control socket does. Exit codes: 0 the router hung up, 42 wrong settings, 2 a fault.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	fdControl = 3
	fdMemory  = 4
	fdWakeup  = 5
	fdNotify  = 6

	exitSettings = 42

	// WireGuard's buffers have 64 KiB each, of which a packet touches one page or none: the heap counts ten times what is
	// resident. Collecting often would empty its pools, and the buffers made anew be cleared and so resident. So collect
	// seldom; the limit is a backstop above what the queue limits and the batches being read allow, since reaching it
	// costs half of the throughput.
	collectPercent = 400
	memoryLimit    = 192 << 20
	memoryPerHost  = 32 << 20
	heartbeatEvery = time.Second
)

func main() {
	// The memory holds private keys: no core, no ptrace by the same user, no argument words in a panic's trace.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	debug.SetTraceback("none")
	// Platforms signal every process of a container at once; the router decides when we end.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)

	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "error %v\n", err)
		if errors.Is(err, errSettings) {
			os.Exit(exitSettings)
		}
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 {
		return fmt.Errorf("%w: mlshim-wg takes no arguments; it is started by the router", errSettings)
	}
	memory := os.NewFile(fdMemory, "memory")
	region, err := mapRegion(memory)
	if err != nil {
		return err
	}
	memory.Close()
	for _, fd := range []int{fdControl, fdWakeup, fdNotify} {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("%w: descriptor %d: %v", errSettings, fd, err)
		}
	}
	control := os.NewFile(fdControl, "control")
	wakeup := os.NewFile(fdWakeup, "wakeup")
	notify := func() { wake(fdNotify) }

	tx := newTxRing(region, wakeup, fdWakeup, notify)
	rx := newRxRing(region, notify)
	debug.SetGCPercent(collectPercent)
	setMemoryLimit(0)
	go tx.run()
	go beat(region)
	s := newServer(control, region, tx, rx)
	s.send([]byte(fmt.Sprintf("event=ready\nlayout=%d\nring_bytes=%d\n\n", layoutVersion, region.ringBytes)))
	return s.serve()
}

// beat shows that the process is alive and scheduled.
func beat(r *region) {
	for range time.Tick(heartbeatEvery) {
		r.word(offHeartbeat).Add(1)
	}
}

func setMemoryLimit(hosts int) {
	debug.SetMemoryLimit(memoryLimit + int64(hosts)*memoryPerHost)
}
