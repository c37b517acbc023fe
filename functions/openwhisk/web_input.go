package openwhisk

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime"
	"net/url"
	"strings"
	"unicode/utf8"
)

// The properties of a web action's input that describe the request.
const (
	webMethod  = "__ow_method"
	webHeaders = "__ow_headers"
	webPath    = "__ow_path"
	webUser    = "__ow_user"
	webQuery   = "__ow_query"
	webBody    = "__ow_body"
)

// arguments are the action's input: the description of the request, the query and the
// body; later ones win. Query and body may override neither the description nor final
// parameters.
func (c *webCall) arguments(t target, body []byte) (object, error) {
	args := c.describe()
	if t.annotations.is(rawAnnotation) {
		args[webQuery] = encoded(c.URL.RawQuery)
		args[webBody] = c.opaque(body)
		return args, nil
	}
	sent := object{}
	for name, values := range c.URL.Query() {
		sent[name] = encoded(values[len(values)-1])
	}
	opaque, err := c.structured(body, sent)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{webMethod, webHeaders, webPath, webUser, webQuery, webBody} {
		if _, there := sent[name]; there {
			return nil, errOverrides
		}
	}
	if err := t.allows(sent.keys()); err != nil {
		return nil, err
	}
	maps.Copy(args, sent)
	if opaque != nil {
		args[webBody] = opaque
	}
	return args, nil
}

func (c *webCall) describe() object {
	headers := object{"host": encoded(c.Host)}
	for name, values := range c.Header {
		headers[strings.ToLower(name)] = encoded(strings.Join(values, ", "))
	}
	args := object{webMethod: encoded(strings.ToLower(c.Method)), webHeaders: headers.encode(), webPath: encoded(c.rest)}
	if c.user != "" {
		args[webUser] = encoded(c.user)
	}
	return args
}

// structured adds a JSON object or a form to sent; for other bodies it returns the value
// of __ow_body.
func (c *webCall) structured(body []byte, sent object) (opaque json.RawMessage, err error) {
	media := mediaType(c.Header.Get("Content-Type"))
	switch {
	case len(body) == 0:
		return nil, nil
	case media == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, malformed("the body is not a form")
		}
		for name, values := range form {
			sent[name] = encoded(values[len(values)-1])
		}
		return nil, nil
	case isJSON(media):
		if !json.Valid(body) || !utf8.Valid(body) {
			return nil, malformed("the body is not JSON")
		}
		var o object
		if json.Unmarshal(body, &o) != nil || o == nil {
			return body, nil
		}
		maps.Copy(sent, o)
		return nil, nil
	}
	return c.opaque(body), nil
}

// opaque is a body as a string: unchanged if its type is text, else in base64. JSON is in
// base64 too, as in OpenWhisk.
func (c *webCall) opaque(body []byte) json.RawMessage {
	media := mediaType(c.Header.Get("Content-Type"))
	if len(body) == 0 {
		return encoded("")
	}
	if media == "application/json" || !isText(media) {
		return encoded(base64.StdEncoding.EncodeToString(body))
	}
	return encoded(strings.ToValidUTF8(string(body), "\uFFFD"))
}

// mediaType is a type without its parameters; empty if it is invalid.
func mediaType(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return media
}

func isJSON(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// isText says whether content of a type is text; all other content is binary.
func isText(contentType string) bool {
	media := mediaType(contentType)
	if strings.HasPrefix(media, "text/") || isJSON(media) {
		return true
	}
	switch media {
	case "application/xml", "application/javascript", "application/x-javascript", "application/x-www-form-urlencoded":
		return true
	}
	return strings.HasSuffix(media, "+xml") && media != "image/svg+xml"
}
