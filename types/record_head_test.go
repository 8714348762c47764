package types

import (
	"errors"
	"testing"
)

func TestParseIntentHead(t *testing.T) {
	const whole = `{"format":1,"bootID":"b","netnsInode":7,"netnsChanged":8,"netnsCookie":9,"mountnsInode":6,"network":"n","plan":{"sandbox":{"containerID":"c","netns":"/n","ifname":"eth0"},"attachments":[{"name":"a"}]}}`
	for name, tc := range map[string]struct {
		line string
		want error
	}{
		"whole":        {whole, nil},
		"newer":        {`{"format":2,"plan":{"sandbox":{"containerID":"c"}}}`, ErrNewerRecord},
		"torn":         {whole[:len(whole)/2], ErrDamagedRecord},
		"empty":        {``, ErrDamagedRecord},
		"no container": {`{"format":1,"plan":{"sandbox":{}}}`, ErrDamagedRecord},
		"no format":    {`{"plan":{"sandbox":{"containerID":"c"}}}`, ErrDamagedRecord},
		"wrong types":  {`{"format":1,"plan":{"sandbox":{"containerID":[]}}}`, ErrDamagedRecord},
	} {
		t.Run(name, func(t *testing.T) {
			head, err := ParseIntentHead([]byte(tc.line))
			if !errors.Is(err, tc.want) || (head == nil) != (tc.want != nil) {
				t.Fatalf("got %+v, %v, want %v", head, err, tc.want)
			}
			if head != nil && (head.BootID != "b" || head.NetNSInode != 7 || head.NetNSChanged != 8 || head.NetNSCookie != 9 || head.MountNSInode != 6 || head.Plan.Sandbox.NetNS != "/n") {
				t.Errorf("got %+v", head)
			}
		})
	}
}

// FuzzParseIntentHead holds that it finds what ParseRecord finds.
func FuzzParseIntentHead(f *testing.F) {
	f.Add([]byte(`{"format":1,"bootID":"b","plan":{"sandbox":{"containerID":"c","netns":"/n"},"attachments":[{"name":"a"}]}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := ParseRecord(line)
		if err != nil {
			return
		}
		head, err := ParseIntentHead(firstLine(line))
		if err != nil || head.BootID != record.BootID || head.NetNSInode != record.NetNSInode || head.NetNSChanged != record.NetNSChanged ||
			head.NetNSCookie != record.NetNSCookie || head.MountNSInode != record.MountNSInode || head.Plan.Sandbox.NetNS != record.Plan.Sandbox.NetNS {
			t.Errorf("%q: got %+v, %v, ParseRecord says %+v", line, head, err, record.Intent)
		}
	})
}

func firstLine(data []byte) []byte {
	for i, b := range data {
		if b == '\n' {
			return data[:i]
		}
	}
	return data
}
