package device

import (
	"errors"
	"testing"

	"github.com/plexus-cni/plexus/sriov"
)

func TestReadOfNothing(t *testing.T) {
	if d, _, err := Read("0000:ff:1f.7"); !errors.Is(err, sriov.ErrNoDevice) {
		t.Errorf("%v, %v", d, err)
	}
}
