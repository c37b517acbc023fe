package osb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/services"
)

// maxID is how many characters an ID may have.
const maxID = 255

// fields reads an object's members by their exact names (encoding/json ignores case) and
// collects their faults, so that the answer names all of them. Other names are ignored, as
// the specification requires. null is the same as absent.
type fields struct {
	values map[string]json.RawMessage
	path   string    // before a name in a fault, such as "bind_resource."
	faults *[]string // shared by an object and those within it
}

// newFields reads an object that checkObject accepted.
func newFields(object json.RawMessage) *fields { return readFields(object, "", new([]string)) }

func readFields(object json.RawMessage, path string, faults *[]string) *fields {
	f := &fields{path: path, faults: faults}
	_ = json.Unmarshal(object, &f.values) // the members of an object always fit
	return f
}

// fault records a fault of a member once, however often the member is read.
func (f *fields) fault(name, rule string) {
	if text := f.path + name + ": " + rule; !slices.Contains(*f.faults, text) {
		*f.faults = append(*f.faults, text)
	}
}

// err returns all faults in one.
func (f *fields) err() error {
	if len(*f.faults) == 0 {
		return nil
	}
	return invalid(strings.Join(*f.faults, "; "))
}

// text returns a string; empty if it is absent.
func (f *fields) text(name string) string {
	var value *string
	raw := f.values[name]
	if raw == nil {
		return ""
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		f.fault(name, "must be a string, not "+services.TypeNameOf(raw))
	}
	if value == nil {
		return ""
	}
	if strings.ContainsRune(*value, 0) {
		f.fault(name, "must not contain a NUL character")
	}
	return *value
}

// id returns an identifier; empty if it is absent.
func (f *fields) id(name string) string {
	value := f.text(name)
	if utf8.RuneCountInString(value) > maxID {
		f.fault(name, tooLong())
	}
	return value
}

// requiredID returns an identifier that must not be absent or empty.
func (f *fields) requiredID(name string) string {
	value := f.id(name)
	if value == "" && !f.faulty(name) {
		f.fault(name, "is required")
	}
	return value
}

// faulty says whether the member has a fault already.
func (f *fields) faulty(name string) bool {
	return slices.ContainsFunc(*f.faults, func(known string) bool { return strings.HasPrefix(known, f.path+name+": ") })
}

// object returns an object as it was sent; nil if it is absent.
func (f *fields) object(name string) json.RawMessage {
	raw := f.values[name]
	if raw == nil || string(raw) == "null" {
		return nil
	}
	if raw[0] != '{' {
		f.fault(name, "must be an object, not "+services.TypeNameOf(raw))
		return nil
	}
	return raw
}

// within returns the members of an object; ok is false if it is absent.
func (f *fields) within(name string) (inner *fields, ok bool) {
	raw := f.object(name)
	return readFields(raw, f.path+name+".", f.faults), raw != nil
}

func tooLong() string { return fmt.Sprintf("has more than %d characters", maxID) }

// maxBody is how many bytes a request's body may have.
const maxBody = 1 << 20

// readBody returns the JSON object in a request's body.
func readBody(w http.ResponseWriter, r *http.Request) (*fields, error) {
	if sent := r.Header.Get("Content-Type"); sent != "" {
		if kind, _, err := mime.ParseMediaType(sent); err != nil || kind != "application/json" {
			return nil, invalid("the header Content-Type must be application/json")
		}
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge()
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge()
	}
	if err != nil {
		return nil, invalid("the body broke off before its end")
	}
	if len(data) == 0 {
		return nil, invalid("the body is missing: send a JSON object")
	}
	if err := checkObject(data); err != nil {
		return nil, invalid("the body cannot be read: " + err.Error())
	}
	return newFields(data), nil
}

func tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody))
}
