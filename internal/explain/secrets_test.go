package explain

import (
	"encoding/json"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// What is not masked stays as it is, byte for byte.
func TestMask(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":         {`{"b":1,  "a" : [1, {"c":null}]}`, `{"b":1,  "a" : [1, {"c":null}]}`},
		"a password":      {`{"password": "x", "z": 1}`, `{"password": "***", "z": 1}`},
		"any case":        {`{"apiToken":"x","Client_Secret":"y","PSK":"z"}`, `{"apiToken":"***","Client_Secret":"***","PSK":"***"}`},
		"a key":           {`{"key":"x","privateKey":"y","pre-shared-key":"z","keys":1,"keyed":2}`, `{"key":"***","privateKey":"***","pre-shared-key":"***","keys":1,"keyed":2}`},
		"deep":            {`{"a":[{"b":{"token":{"x":[1]}}}],"c":"token"}`, `{"a":[{"b":{"token":"***"}}],"c":"token"}`},
		"not a string":    {`{"token":12,"secret":[1,2],"password":{"a":"b"}}`, `{"token":"***","secret":"***","password":"***"}`},
		"a flag":          {`{"capabilities":{"apiToken":true,"key":false},"psk":null}`, `{"capabilities":{"apiToken":true,"key":false},"psk":null}`},
		"an escaped key":  {`{"tok\u0065n":"x"}`, `{"tok\u0065n":"***"}`},
		"an escaped text": {`{"token":"a\"}{\\","x":"\u00e9"}`, `{"token":"***","x":"\u00e9"}`},
		"space":           {"{\"token\" :\t\n\"x\" ,\"y\":2}", "{\"token\" :\t\n\"***\" ,\"y\":2}"},
		"not JSON":        {`{"token":`, `"***"`},
	} {
		t.Run(name, func(t *testing.T) { check.Equal(t, "masked", string(Mask([]byte(tc.text))), tc.want) })
	}
}

func FuzzMask(f *testing.F) {
	f.Add(`{"a":[{"token":"x"}],"password":{"key":[1,2]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		masked := Mask([]byte(text))
		if !json.Valid([]byte(text)) {
			return
		}
		if !json.Valid(masked) {
			t.Fatalf("%s became %s", text, masked)
		}
		if again := Mask(masked); string(again) != string(masked) {
			t.Fatalf("%s became %s, and then %s", text, masked, again)
		}
	})
}
