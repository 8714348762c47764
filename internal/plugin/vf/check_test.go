package vf

import (
	"errors"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// bare is the machine's interfaces, which have lost their addresses.
type bare struct{ links }

var errNoAddress = errors.New("no address")

func (bare) Verify(ns string, link *Link, result *current.Result) error {
	if ns != nsA || link.Name != "net0" || len(result.IPs) != 1 {
		return errors.New("not what there is to verify")
	}
	return errNoAddress
}

func TestCheckVerifiesAddresses(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	e.Links = bare{links{m}}
	if err := e.Check(t.Context(), inA(), checkConfig(t)); !errors.Is(err, errNoAddress) {
		t.Errorf("got %v", err)
	}
}
