package plugin

import (
	"errors"

	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/types"
)

// toCNI makes the error that the runtime gets: our code and message, also where another
// plugin's error is inside, and that one's details.
func (m *Main) toCNI(err error) *cnitypes.Error {
	if err == nil {
		return nil
	}
	code, details := types.CodeFailed, ""
	var inner *cnitypes.Error
	if errors.As(err, &inner) {
		details = inner.Details
		if inner.Code != 0 {
			code = inner.Code
		}
	}
	if m.Details != nil {
		details = m.Details(err)
	}
	return cnitypes.NewError(types.CodeOf(err, code), err.Error(), details)
}
