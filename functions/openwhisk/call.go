package openwhisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
)

// call is one request to the API.
type call struct {
	*http.Request
	w   http.ResponseWriter
	id  string   // OpenWhisk's transaction id: "code" of an error, X-Request-Id
	who identity // of routes that ask who calls
	// qualified is what the path names; the namespace is never "_".
	qualified
}

const (
	requestIDHeader    = "X-Request-Id"
	activationIDHeader = "X-Openwhisk-Activation-Id"
)

var requestIDRule = regexp.MustCompile(`\A[\w-]{1,64}\z`)

func newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{Request: r, w: w, id: r.Header.Get(requestIDHeader)}
	if !requestIDRule.MatchString(c.id) {
		c.id = strings.ReplaceAll(uuid.NewString(), "-", "")
	}
	w.Header().Set(requestIDHeader, c.id)
	return c
}

// allowAnyOrigin sets OpenWhisk's CORS headers (CorsSettings.scala).
func allowAnyOrigin(h http.Header, methods string) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent")
	h.Set("Access-Control-Allow-Methods", methods)
}

// open serves everybody.
func (a *API) open(serve func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := newCall(w, r)
		allowAnyOrigin(w.Header(), "GET, DELETE, POST, PUT, HEAD")
		a.answer(c, serve(c))
	}
}

// authenticated serves whoever has a key.
func (a *API) authenticated(serve func(*call) error) http.HandlerFunc {
	return a.open(func(c *call) error {
		credentials, err := a.read(c.Request)
		if err != nil {
			return err
		}
		if c.who, err = a.identify(c.Context(), credentials); err != nil {
			return err
		}
		return serve(c)
	})
}

// right is what a route needs.
type right int

const (
	// readOwn: reading, and firing triggers, of the key's own namespace.
	readOwn right = iota
	// readShared: the handler refuses what the other namespace does not share.
	readShared
	// change: changing the key's own namespace.
	change
)

// entity serves what the path names below a namespace.
func (a *API) entity(need right, serve func(*call) error) http.HandlerFunc {
	return a.authenticated(func(c *call) error {
		if err := c.readPath(c.who.namespace); err != nil {
			return err
		}
		if c.namespace != c.who.namespace && need != readShared {
			return forbidden(c.namespace, c.local())
		}
		if need == change && !c.who.mayChange() {
			return errOperation
		}
		return serve(c)
	})
}

// readPath takes the names out of the path.
func (c *call) readPath(own string) error {
	vars := mux.Vars(c.Request)
	for _, part := range []struct {
		key string
		to  *string
	}{{"namespace", &c.namespace}, {"package", &c.pkg}, {"name", &c.name}} {
		raw, there := vars[part.key]
		if !there {
			continue
		}
		name, err := url.PathUnescape(raw)
		if err != nil || !validName(name) {
			return errEntityName
		}
		*part.to = name
	}
	if c.namespace == ownNamespace {
		c.namespace = own
	}
	return nil
}

// answer finishes a request that was served, or refused with err.
func (a *API) answer(c *call, err error) {
	if err == nil {
		return
	}
	p := verdict(err)
	if p.status >= http.StatusInternalServerError && c.Context().Err() == nil {
		a.Logger.ErrorContext(c.Context(), "functions request failed", "request_id", c.id, "error", err)
	}
	if p.status == http.StatusUnauthorized {
		c.w.Header().Set("Www-Authenticate", `Basic realm="whisk rest service"`)
	}
	c.json(p.status, map[string]string{"error": p.message, "code": c.id})
}

// json answers with v. A client that went away is nobody's error.
func (c *call) json(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	e := json.NewEncoder(c.w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

func (c *call) ok(v any) error {
	c.json(http.StatusOK, v)
	return nil
}

// flag is a parameter of the query that is true or false.
func (c *call) flag(name string, initial bool) (bool, error) {
	switch s := strings.ToLower(c.URL.Query().Get(name)); s {
	case "":
		return initial, nil
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, refuse(http.StatusBadRequest, "The query parameter '%s' was malformed:\nit is true or false.", name)
}

// body reads at most limit bytes.
func (c *call) body(limit int64) ([]byte, error) {
	if c.ContentLength > limit {
		return nil, tooLarge("Request", c.ContentLength, limit)
	}
	var b bytes.Buffer
	if c.ContentLength > 0 {
		b.Grow(int(c.ContentLength) + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(c.w, c.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, err
	}
	if err != nil {
		return nil, malformed("the body ended too soon")
	}
	return b.Bytes(), nil
}

// decode reads the body into v, a struct; what v does not have is left aside, as
// OpenWhisk does. An empty body is {}.
func (c *call) decode(v any, limit int64) error {
	raw, err := c.body(limit)
	if err != nil {
		return err
	}
	return decodeJSON(raw, v)
}

func decodeJSON(raw []byte, v any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	if !utf8.Valid(raw) {
		return malformed("the body is not UTF-8") // RFC 8259, section 8.1
	}
	if err := json.Unmarshal(raw, v); err != nil {
		if p, ok := errors.AsType[*problem](err); ok {
			return p
		}
		return malformed("%s", describeJSON(err))
	}
	return nil
}

// describeJSON says what is wrong without quoting the body, which may hold
// secrets.
func describeJSON(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field == "" {
		return "a JSON object is expected, not " + e.Value
	} else if ok {
		return "\"" + e.Field + "\" cannot be " + e.Value
	}
	return "the body is not JSON"
}
