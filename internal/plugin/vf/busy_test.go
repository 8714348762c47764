package vf

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever step of an ADD or of a DEL finds the NIC or the kernel busy, it is taken again.
func TestBusyOnce(t *testing.T) {
	steps := newMachine()
	e := steps.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	adds := len(steps.notes)
	steps.link.MTU = 9000
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	for at, step := range steps.notes {
		if strings.HasPrefix(step, "ipam") || step == "announce" {
			continue // an IPAM plugin gives codes of its own, and an announcement need not succeed
		}
		for _, busy := range []error{unix.EBUSY, unix.EAGAIN} {
			t.Run(step+", "+busy.Error(), func(t *testing.T) {
				m := newMachine()
				e, before := m.engine(t), m.view()
				m.failure, m.failAt = busy, at+1
				if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatalf("ADD: %v", err)
				}
				equal(t, "whether the step of ADD came again", at < adds, len(m.notes) > adds)
				m.link.MTU = 9000
				if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatalf("DEL: %v", err)
				}
				m.link.Index = before.Link.Index
				equal(t, "after DEL", before, m.view())
			})
		}
	}
}

// The PF may be busy when it is asked what it keeps, too.
func TestBusyReads(t *testing.T) {
	m := newMachine()
	e, before := m.engine(t), m.view()
	m.readFaults = []error{unix.EBUSY, unix.EAGAIN}
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.readFaults = []error{unix.EAGAIN}
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.link.Index = before.Link.Index
	equal(t, "after DEL", before, m.view())
}

// Without a state, what DEL sets back is tried again too.
func TestBusyWithoutState(t *testing.T) {
	for at := range 8 {
		m := newMachine()
		m.ns, m.settings.VLAN, m.settings.Trust = nsA, 100, ptr(true)
		m.failure, m.failAt = unix.EBUSY, at+2 // the first is the IPAM plugin
		if err := m.engine(t).Del(t.Context(), inA(), parse(t, all)); err != nil {
			t.Fatal(err)
		}
		equal(t, "where it is", "", m.ns)
		equal(t, "name", "vf000001100", m.link.Name)
		equal(t, "MAC, VLAN and trust", []any{noMAC, 0, false}, []any{m.settings.MAC, m.settings.VLAN, *m.settings.Trust})
	}
}

// What stays busy is an error after a while, and is undone.
func TestBusyForever(t *testing.T) {
	for name, config := range map[string]string{
		"the VLAN": all,
		"trust":    `{"name":"n","deviceID":"` + dev + `","trust":"on"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine()
				e, before := m.engine(t), m.view()
				m.busy = map[string]error{"vlan 100": syscall.EBUSY, "trust true": syscall.EAGAIN}
				began := time.Now()
				_, err := e.Add(t.Context(), inA(), parse(t, config))
				if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EAGAIN) {
					t.Errorf("got %v", err)
				}
				equal(t, "time", 2*time.Second, time.Since(began))
				equal(t, "after the undo", before, m.view())
			})
		})
	}
}

// What is refused for another reason is not tried again.
func TestRefusedOnce(t *testing.T) {
	for _, refusal := range []error{unix.EINVAL, unix.EPERM} {
		m := newMachine()
		m.failure, m.failAt = refusal, 2
		if _, err := m.engine(t).Add(t.Context(), inA(), parse(t, all)); !errors.Is(err, refusal) {
			t.Errorf("got %v", err)
		}
		equal(t, "after the VLAN", "up true", m.notes[2])
	}
}
