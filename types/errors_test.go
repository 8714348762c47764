package types

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func asFieldError(err error, target **FieldError) bool { return errors.As(err, target) }

func TestJoin(t *testing.T) {
	one, two := errors.New("one"), io.EOF
	if err := Join(); err != nil {
		t.Errorf("Join of nothing is %v", err)
	}
	if err := Join(nil, nil); err != nil {
		t.Errorf("Join of nils is %v", err)
	}
	if err := Join(nil, one, nil); err != one { //nolint:errorlint // the very same error is wanted
		t.Errorf("Join of one error is %#v, not that error", err)
	}
	err := Join(one, nil, fmt.Errorf("two: %w", two))
	if got, want := err.Error(), "one; two: EOF"; got != want {
		t.Errorf("Join says %q, want %q", got, want)
	}
	if !errors.Is(err, one) || !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("errors.Is does not see into %v", err)
	}
	var field *FieldError
	if joined := Join(one, &FieldError{"mac", "is wrong"}); !errors.As(joined, &field) || field.Error() != "mac: is wrong" {
		t.Errorf("errors.As finds %v in %v", field, joined)
	}
}

func TestCodes(t *testing.T) {
	plain := errors.New("plain")
	for _, tc := range []struct {
		name string
		err  error
		want uint
	}{
		{"none", nil, 99},
		{"a plain error", plain, 99},
		{"a code", WithCode(CodeTryAgainLater, plain), 11},
		{"a code further in", fmt.Errorf("pod: %w", WithCode(CodeNotAvailable, plain)), 50},
		{"the outermost of two", WithCode(CodeInvalidConfig, WithCode(CodeNotAvailable, plain)), 7},
		{"one of several", Join(plain, WithCode(CodeIOFailure, plain)), 5},
		{"through a socket", fmt.Errorf("facts: %w", &WireError{Code: 11, Message: "later"}), 11},
		{"through a socket, without a code", &WireError{Message: "hm"}, 99},
		{"formatted", Errorf(CodeInvalidEnv, "CNI_ARGS: %w", plain), 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := CodeOf(tc.err, 99); got != tc.want {
				t.Errorf("code %d, want %d", got, tc.want)
			}
		})
	}
}

func TestWithCode(t *testing.T) {
	if err := WithCode(CodeIOFailure, nil); err != nil {
		t.Errorf("WithCode of nil is %v", err)
	}
	err := Errorf(CodeIOFailure, "write %s: %w", "record", io.ErrShortWrite)
	if got, want := err.Error(), "write record: short write"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if !errors.Is(err, io.ErrShortWrite) {
		t.Error("the error inside is lost")
	}
}

func TestShorten(t *testing.T) {
	for message, want := range map[string]string{
		"":              "",
		"1234567890":    "1234567890",
		"12345678901":   "1234567…",
		"123456€890123": "123456…", // no part of a character is left
	} {
		if got := Shorten(message, 10); got != want {
			t.Errorf("Shorten(%q) is %q, want %q", message, got, want)
		}
	}
}

// A fault of an annotation knows which annotation and which element it is of, beside its text.
func TestSelectionFaultsKnowTheirPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		value, network, field string
		element               int
	}{
		"short form":      {"a,b,C", "", "", 2},
		"JSON form":       {`[{"name": "a"}, {"name": "b", "ips": ["x"]}]`, "ns/b", "ips[0]", 1},
		"interface twice": {"a@x,b,c@x", "ns/c", "interface", 2},
		"route twice":     {`[{"name": "a", "default-route": ["10.0.0.1"]}, {"name": "b", "default-route": ["10.0.0.1"]}]`, "ns/b", "default-route", 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ParseSelections(tc.value, "ns")
			var annotation *AnnotationError
			var element *ElementError
			if !errors.As(err, &annotation) || annotation.Annotation != AnnotationNetworks || !errors.As(err, &element) {
				t.Fatalf("no annotation or element in %v", err)
			}
			if element.Index != tc.element || element.Network != tc.network {
				t.Errorf("element %d (%s) of %v", element.Index, element.Network, err)
			}
			var field *FieldError
			if errors.As(err, &field) != (tc.field != "") || field != nil && field.Field != tc.field {
				t.Errorf("field %+v of %v", field, err)
			}
		})
	}
}
