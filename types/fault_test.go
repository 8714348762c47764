package types

import (
	"errors"
	"fmt"
	"testing"
)

func TestFaultOf(t *testing.T) {
	user, network, node := WithFault(FaultUser, errors.New("u")), WithFault(FaultNetwork, errors.New("n")), WithFault(FaultNode, errors.New("m"))
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"none":             {nil, ""},
		"not marked":       {Errorf(CodeInvalidConfig, "x"), ""},
		"wrapped":          {fmt.Errorf("pod: %w", WithCode(CodeFailed, user)), FaultUser},
		"the worst":        {Join(user, node, network), FaultNode},
		"the worst of two": {errors.Join(network, user), FaultNetwork},
		"one in another":   {WithFault(FaultUser, fmt.Errorf("x: %w", node)), FaultNode},
		"an unknown one":   {WithFault("nobody", errors.New("x")), ""},
		"no error":         {WithFault(FaultNode, nil), ""},
		"of a source":      {fmt.Errorf("x: %w", ErrorResponse(user).Error), FaultUser},
		"of a source, too": {Join(network, ErrorResponse(fmt.Errorf("y: %w", node)).Error), FaultNode},
		"of one that says none, or of another build": {Join(&WireError{Code: 7}, &WireError{Fault: "nobody"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := FaultOf(tc.err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	if err := Join(user, node); err.Error() != "u; m" {
		t.Errorf("the message is %q", err)
	}
}

func TestFaultOfCode(t *testing.T) {
	want := map[uint]string{1: FaultUser, 2: FaultUser, 6: FaultUser, 7: FaultUser}
	for _, code := range []uint{1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51, 99, 100, 101, 999, 1 << 40} {
		expected := FaultNode
		if want[code] != "" {
			expected = want[code]
		}
		if got := FaultOfCode(code); got != expected {
			t.Errorf("code %d: got %q, want %q", code, got, expected)
		}
	}
}
