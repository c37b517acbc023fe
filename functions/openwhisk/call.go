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

type call struct {
	*http.Request
	w         http.ResponseWriter
	id        string   // OpenWhisk's transaction id: "code" of an error, X-Request-Id
	who       identity // unless the route is open
	qualified          // what the path names; the namespace is never "_"
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

func (a *API) open(serve func(*call) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := newCall(w, r)
		allowAnyOrigin(w.Header(), "GET, DELETE, POST, PUT, HEAD")
		a.answer(c, serve(c))
	}
}

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

// right is the permission that a route requires.
type right int

const (
	readOwn    right = iota // reading the key's own namespace, and firing its triggers
	readShared              // the handler refuses what another namespace does not share
	change                  // changing the key's own namespace
)

// entity serves what the path names in a namespace.
func (a *API) entity(need right, serve func(*call) error) http.HandlerFunc {
	return a.authenticated(func(c *call) error {
		if err := c.readPath(c.who.namespace); err != nil {
			return err
		}
		if c.namespace != c.who.namespace && need != readShared {
			return forbidden(c.namespace, c.local())
		}
		if need == change && !c.who.mayChange() {
			return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access this resource.")
		}
		return serve(c)
	})
}

func (c *call) readPath(own string) error {
	vars := mux.Vars(c.Request)
	for _, part := range []struct {
		key string
		to  *string
	}{{"namespace", &c.namespace}, {"package", &c.pkg}, {"name", &c.name}} {
		raw, present := vars[part.key]
		if !present {
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

// answer answers with err, unless it is nil because the request was served.
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

// json answers with v.
func (c *call) json(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	e := json.NewEncoder(c.w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // fails if the client has disconnected
}

func (c *call) ok(v any) error {
	c.json(http.StatusOK, v)
	return nil
}

// reply answers with v unless err is an error.
func (c *call) reply(v any, err error) error {
	if err != nil {
		return err
	}
	return c.ok(v)
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

// decode reads the body into v. It ignores unknown fields, as OpenWhisk does.
func (c *call) decode(v any, limit int64) error {
	raw, err := c.body(limit)
	if err == nil {
		err = decodeJSON(raw, v)
	}
	return err
}

// decodeJSON decodes raw into v; an empty raw is {}.
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

// describeJSON describes an error without quoting the body, which may contain secrets.
func describeJSON(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field == "" {
		return "a JSON object is expected, not " + e.Value
	} else if ok {
		return "\"" + strings.TrimPrefix(e.Field, "entityPut.") + "\" cannot be " + e.Value // the embedded struct is no part of the API
	}
	return "the body is not JSON"
}
