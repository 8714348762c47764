package explain

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// masked stands for a value that looks like a secret.
const masked = `"***"`

// secretWords are parts of the names of keys whose values are taken for secrets; a key that
// ends in "key" is one too.
var secretWords = []string{"password", "passwd", "passphrase", "token", "secret", "psk", "credential"}

func isSecret(key string) bool {
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "key") || slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(key, word) })
}

// span is a part of a text, from its first byte to the one after it.
type span struct{ from, to int }

// Mask replaces the values in a JSON text whose keys look like those of secrets. The rest of
// the text stays as it is, byte for byte.
func Mask(text []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(text))
	var secrets []span
	if err := findSecrets(decoder, &secrets); err != nil {
		return []byte(masked) // what nobody can read may hold anything
	}
	var kept []byte
	from := 0
	for _, s := range secrets {
		kept = append(append(kept, text[from:s.from]...), masked...)
		from = s.to
	}
	return append(kept, text[from:]...)
}

// findSecrets finds the secrets in the next value.
func findSecrets(decoder *json.Decoder, secrets *[]span) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	opening, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	for decoder.More() {
		if opening == '{' {
			err = findInField(decoder, secrets)
		} else {
			err = findSecrets(decoder, secrets)
		}
		if err != nil {
			return err
		}
	}
	_, err = decoder.Token() // the closing one
	return err
}

// isFlag reports whether a value is no secret, whatever its key: a capability may have the name of one, and a plan
// depends on whether it is declared.
func isFlag(value json.RawMessage) bool {
	return slices.Contains([]string{"true", "false", "null"}, string(value))
}

// findInField finds the secrets in the next field of an object.
func findInField(decoder *json.Decoder, secrets *[]span) error {
	key, err := decoder.Token()
	if err != nil {
		return err
	}
	if name, _ := key.(string); !isSecret(name) {
		return findSecrets(decoder, secrets)
	}
	var value json.RawMessage
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	if isFlag(value) {
		return nil
	}
	end := int(decoder.InputOffset())
	*secrets = append(*secrets, span{end - len(value), end})
	return nil
}
