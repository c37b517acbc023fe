package admin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/chandler-broker/chandler/functions/state"
)

// problem is the answer to a request that failed.
type problem struct {
	status int
	// Code is for programs, Errors for people: "field: rule" each.
	Code   string   `json:"code"`
	Errors []string `json:"errors"`
}

func (p *problem) Error() string { return strings.Join(p.Errors, "\n") }

func (p *problem) answer() answer { return answer{p.status, p} }

func problemf(status int, code, format string, args ...any) *problem {
	return &problem{status, code, []string{fmt.Sprintf(format, args...)}}
}

// invalid is the problem of a request that breaks rules.
func invalid(faults ...string) error {
	return &problem{http.StatusBadRequest, "invalid", faults}
}

// problemOf says what an error means to the client.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	switch {
	case state.Locked(err):
		return problemf(http.StatusLocked, "locked", "another change of the namespace is in progress in the database; try again")
	case state.NoRoom(err):
		return problemf(http.StatusInsufficientStorage, "no_room", "the disk of the functions' database is full; make room on it: %v", err)
	case state.Duplicate(err):
		return problemf(http.StatusConflict, "conflict", "id: another key has this id")
	case state.Unavailable(err):
		return problemf(http.StatusServiceUnavailable, "unavailable", "the functions' database: %v", err)
	}
	return problemf(http.StatusInternalServerError, "internal", "%v", err)
}

// notFoundIs replaces the error of a missing row.
func notFoundIs(err error, what string) error {
	if state.NotFound(err) {
		return problemf(http.StatusNotFound, "not_found", "%s: does not exist", what)
	}
	return err
}

// decode reads a request's body: one JSON object without unknown members.
func decode(r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return problemf(http.StatusUnsupportedMediaType, "invalid", "Content-Type: must be application/json")
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); err == io.EOF {
			return nil
		} else if err == nil {
			return invalid("body: must be one JSON object")
		}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problemf(http.StatusRequestEntityTooLarge, "invalid", "body: must be %d bytes at most", maxBody)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind := map[reflect.Kind]string{reflect.Slice: "a list", reflect.Struct: "an object", reflect.Bool: "true or false"}[mismatch.Type.Kind()]
		return invalid(cmp.Or(mismatch.Field, "body") + ": must be " + cmp.Or(kind, "a text"))
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return invalid(strings.Trim(field, `"`) + ": unknown field")
	}
	return invalid("body: must be a whole JSON object") // malformed, or its sender disconnected
}
