package path

import (
	"errors"
	"fmt"
	"strings"
)

// ErrChoose is the error for a path that is not known before an interface is chosen.
var ErrChoose = errors.New("choose the interface with -i")

// SeveralError is the ErrChoose of two pods that are on several networks together.
type SeveralError struct {
	From, To string
	Choices  []Choice
}

// Choice is a network that both pods are on, and the near one's interface on it.
type Choice struct{ Network, Interface string }

func (e *SeveralError) Error() string {
	var choices []string
	for _, choice := range e.Choices {
		choices = append(choices, fmt.Sprintf("%s (-i %s)", choice.Network, choice.Interface))
	}
	return fmt.Sprintf("%s and %s are on %d networks together: %s: %v", e.From, e.To, len(e.Choices), strings.Join(choices, ", "), ErrChoose)
}

func (e *SeveralError) Unwrap() error { return ErrChoose }
