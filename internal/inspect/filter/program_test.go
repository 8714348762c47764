package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// printed gives a program as tcpdump -ddd does.
func printed(program []inspect.Instruction) string {
	var text strings.Builder
	fmt.Fprintln(&text, len(program))
	for _, i := range program {
		fmt.Fprintln(&text, i.Op, i.Jt, i.Jf, i.K)
	}
	return text.String()
}

func TestParseProgram(t *testing.T) {
	for _, text := range []string{"", "ip", "vlan 5 and tcp port 80", "ip[ip[0] & 0xf] * 2 = ip[8]"} {
		program, err := Compile(text, Ethernet)
		check.Must(t, err)
		read, err := ParseProgram(strings.NewReader(printed(program)))
		check.Must(t, err)
		check.Equal(t, "the program of "+text, read, program)
	}
}

func TestParseProgramRefuses(t *testing.T) {
	for _, test := range []struct{ text, says string }{
		{"", "there is nothing"},
		{"(000) ldh [12]", "-d do not"},
		{"{ 0x28, 0, 0, 0x0000000c },", "-dd and"},
		{"0\n", "from 1 to 4096"},
		{"4097\n", "from 1 to 4096"},
		{"2\n6 0 0 0\n", "fewer or more"},
		{"1\n6 0 0 0\n6 0 0 0\n", "fewer or more"},
		{"1\n6 0 0\n", "has 3 numbers, want 4"},
		{"1\n6 0 0 -1\n", "no number of 32 bits"},
		{"1\n6 256 0 1\n", "no number of 8 bits"},
		{"1\n65535 0 0 1\n", "65535 with 1 is none of classic BPF"},
		{"1\n40 0 0 12\n", "does not end it"},
		{"2\n21 1 0 5\n6 0 0 0\n", "past the end"},
		{"2\n21 0 1 5\n6 0 0 0\n", "past the end"},
		{"2\n5 0 0 4294967295\n6 0 0 0\n", "past the end"},
		{"2\n96 0 0 16\n6 0 0 0\n", "96 with 16 is none of classic BPF"},
		{"2\n52 0 0 0\n6 0 0 0\n", "divides by zero"},
		{"2\n100 0 0 32\n6 0 0 0\n", "more than 31"},
	} {
		_, err := ParseProgram(strings.NewReader(test.text))
		check.Error(t, err, "read the program", test.says)
	}
	broken := errors.New("broken")
	if _, err := ParseProgram(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("the error is %v, want %v", err, broken)
	}
}
