//go:build linux

package drops

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// ringSize is room for seven hundred records: there are as many as packets with a mark, not as many as drops.
const ringSize = 1 << 18

// Reader gives the packets with a mark that this kernel drops, in any of its namespaces.
type Reader struct {
	kernel  *kernel
	marks   [][]byte
	lost    *ebpf.Map
	program *ebpf.Program
	ring    *ringbuf.Reader
	close   []func() error
}

// Open begins to watch: what is dropped afterwards is not missed. A mark of eight bytes is repeated through
// the payload of a packet of at least 200 bytes. One of four bytes is a sequence number of TCP, of the packet
// or of one within it.
func Open(marks [][]byte) (reader *Reader, retErr error) {
	compared, err := newMarks(marks)
	if err != nil {
		return nil, err
	}
	k, err := readKernel()
	if err != nil {
		return nil, err
	}
	r := &Reader{kernel: k, marks: marks}
	defer func() {
		if retErr != nil {
			_ = r.Close()
		}
	}()
	if err := r.open(compared); err != nil {
		return nil, understood(err)
	}
	return r, nil
}

// understood says of a refusal what it lacks.
func understood(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		var refused *ebpf.VerifierError
		if !errors.As(err, &refused) {
			return fmt.Errorf("%w: %w", ErrNoRights, unix.EPERM) // the library guesses at another cause
		}
	}
	return fmt.Errorf("read the kernel's reasons for dropping packets: %w", err)
}

func (r *Reader) open(compared marks) error {
	t, err := r.openTables()
	if err != nil {
		return err
	}
	instructions, err := program(r.kernel, compared, t)
	if err != nil {
		return err
	}
	r.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "plexus_drops", Type: ebpf.RawTracepoint, Instructions: instructions, License: "GPL"})
	if err != nil {
		return fmt.Errorf("load the program: %w", err)
	}
	r.close = append(r.close, r.program.Close)
	attached, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "kfree_skb", Program: r.program})
	if err != nil {
		return fmt.Errorf("attach to the tracepoint kfree_skb: %w", err)
	}
	r.close = append(r.close, attached.Close)
	return nil
}

// openTables makes what the program writes to, and the format that it writes names by: the kernel takes that
// only from memory that nobody can change.
func (r *Reader) openTables() (t tables, err error) {
	ring, err := r.table(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: ringSize})
	if err != nil {
		return t, err
	}
	if r.lost, err = r.table(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}); err != nil {
		return t, err
	}
	format, err := r.table(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_RDONLY_PROG,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: []byte("%ps\x00\x00\x00\x00\x00")}},
	})
	if err != nil {
		return t, err
	}
	if err := format.Freeze(); err != nil {
		return t, fmt.Errorf("freeze a table: %w", err)
	}
	if r.ring, err = ringbuf.NewReader(ring); err != nil {
		return t, fmt.Errorf("open the ring: %w", err)
	}
	r.close = append(r.close, r.ring.Close)
	return tables{ring: ring.FD(), lost: r.lost.FD(), format: format.FD()}, nil
}

func (r *Reader) table(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	table, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("make a table: %w", err)
	}
	r.close = append(r.close, table.Close)
	return table, nil
}

// Close ends it. A Read that waits returns.
func (r *Reader) Close() error {
	var errs []error
	for _, f := range slices.Backward(r.close) {
		errs = append(errs, f())
	}
	r.close = nil
	return errors.Join(errs...)
}

// Read gives the next packet that was dropped. When the context ends, it gives what is left, one by one, and
// then the context's error. It is for one goroutine.
func (r *Reader) Read(ctx context.Context) (inspect.Drop, error) {
	defer context.AfterFunc(ctx, func() { _ = r.ring.Flush() })()
	for {
		record, err := r.ring.Read()
		switch {
		case errors.Is(err, ringbuf.ErrFlushed) && ctx.Err() == nil: // one of an earlier context
		case errors.Is(err, ringbuf.ErrFlushed):
			return inspect.Drop{}, ctx.Err()
		case err != nil:
			return inspect.Drop{}, fmt.Errorf("read a dropped packet: %w", err)
		default:
			if drop, found := r.drop(record.RawSample); found {
				return drop, nil
			}
		}
	}
}

// Lost gives how many packets with a mark there was no room for, and how often the program could not run,
// whatever the packet.
func (r *Reader) Lost() uint64 {
	var lost uint64
	_ = r.lost.Lookup(uint32(0), &lost)
	if stats, err := r.program.Stats(); err == nil {
		lost += stats.RecursionMisses
	}
	return lost
}

// drop reads a record. It looks for the mark once more: the program compares less.
func (r *Reader) drop(record []byte) (drop inspect.Drop, found bool) {
	if len(record) < recordSize {
		return drop, false
	}
	number := binary.NativeEndian.Uint32
	packet := record[atPacket:recordSize]
	packet = packet[:min(number(record[atLength:]), packetSize)]
	if !slices.ContainsFunc(r.marks, func(mark []byte) bool { return bytes.Contains(packet, mark) }) {
		return drop, false
	}
	if number(record[atIsIP:]) == 0 {
		packet = behindLink(packet)
	}
	drop = inspect.Drop{
		Time: wall(binary.NativeEndian.Uint64(record[atTime:])), Reason: r.kernel.name(number(record[atReason:])),
		Where: function(record[atWhere : atWhere+whereSize]),
		Point: inspect.Ref{Namespace: uint64(number(record[atInode:])), Index: int(number(record[atIndex:]))},
		Data:  slices.Clone(packet),
	}
	return drop, !arrived(&drop)
}

// arrived reports the answer to a ping. Whoever pinged by a raw socket has a copy of it by then, and the kernel
// finds no other socket for it.
func arrived(drop *inspect.Drop) bool { return drop.Reason == "NO_SOCKET" && drop.Where == "ping_rcv" }

// wall gives the time of the node's clock for one of the monotonic clock.
func wall(at uint64) time.Time {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)                          // it never fails
	return time.Now().Add(time.Duration(at) - time.Duration(now.Nano())).UTC() //nolint:gosec // of one boot
}

// function gives the name of a function without what the compiler and the module added to it.
func function(text []byte) string {
	name, _, _ := strings.Cut(string(text), "\x00")
	if strings.HasPrefix(name, "0x") {
		return "" // the kernel has no name for it
	}
	if i := strings.IndexAny(name, "+. ["); i >= 0 {
		name = name[:i]
	}
	return name
}

// behindLink gives a packet behind its link-layer header, of one that may begin with it: the kernel had not yet
// looked at what follows.
func behindLink(packet []byte) []byte {
	const ethernet, tag = 14, 4
	rest := packet
	for at := ethernet - 2; at+2 <= len(rest); at += tag {
		switch binary.BigEndian.Uint16(rest[at:]) {
		case unix.ETH_P_8021Q, unix.ETH_P_8021AD:
			continue
		case unix.ETH_P_IP, unix.ETH_P_IPV6, unix.ETH_P_ARP:
			return rest[at+2:]
		}
		break
	}
	return packet
}
