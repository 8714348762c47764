package main

import (
	"errors"
	"fmt"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

func TestPeople(t *testing.T) {
	for arg, want := range map[string]int{"--version": 0, "version": 0, "--help": 0, "-h": 0, "ADD": 2, "": 2} {
		if got := run([]string{arg}); got != want {
			t.Errorf("%q: exit code %d, want %d", arg, got, want)
		}
	}
}

func TestToCNI(t *testing.T) {
	theirs := &cnitypes.Error{Code: 77, Msg: "no addresses", Details: "all taken"}
	for name, tc := range map[string]struct {
		err  error
		want error
	}{
		"nothing":           {nil, nil},
		"plain":             {errors.New("x"), &cnitypes.Error{Code: types.CodeFailed, Msg: "x"}},
		"coded":             {types.WithCode(types.CodeTryAgainLater, errors.New("x")), &cnitypes.Error{Code: types.CodeTryAgainLater, Msg: "x"}},
		"of an IPAM plugin": {types.WithCode(77, fmt.Errorf("IPAM plugin p: %w", theirs)), &cnitypes.Error{Code: 77, Msg: "IPAM plugin p: no addresses; all taken", Details: "all taken"}},
	} {
		if diff := cmp.Diff(tc.want, toCNI(tc.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
