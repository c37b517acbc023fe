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

// What a web action is told of its request.
const (
	webMethod  = "__ow_method"
	webHeaders = "__ow_headers"
	webPath    = "__ow_path"
	webUser    = "__ow_user"
	webQuery   = "__ow_query"
	webBody    = "__ow_body"
)

// arguments are what the action gets: what it is told of the request, the query,
// the body; what comes later wins. Neither query nor body may name what the action
// is told, nor what it has final.
func (c *webCall) arguments(t target, body []byte) (object, error) {
	args := c.told()
	if t.annotations.is(rawAnnotation) {
		args[webQuery] = text(c.URL.RawQuery)
		args[webBody] = c.opaque(body)
		return args, nil
	}
	sent := object{}
	for name, values := range c.URL.Query() {
		sent[name] = text(values[len(values)-1])
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

func (c *webCall) told() object {
	headers := object{"host": text(c.Host)}
	for name, values := range c.Header {
		headers[strings.ToLower(name)] = text(strings.Join(values, ", "))
	}
	args := object{webMethod: text(strings.ToLower(c.Method)), webHeaders: headers.encode(), webPath: text(c.rest)}
	if c.user != "" {
		args[webUser] = text(c.user)
	}
	return args
}

// structured adds a JSON object or a form to sent; of another body it returns the
// value of __ow_body.
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
			sent[name] = text(values[len(values)-1])
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

// opaque is a body as a string: as it is when its type is text, else in base64;
// so is JSON, as in OpenWhisk.
func (c *webCall) opaque(body []byte) json.RawMessage {
	media := mediaType(c.Header.Get("Content-Type"))
	if len(body) == 0 {
		return text("")
	}
	if media == "application/json" || !isText(media) {
		return text(base64.StdEncoding.EncodeToString(body))
	}
	return text(strings.ToValidUTF8(string(body), "\uFFFD"))
}

// mediaType is a type without its parameters; empty where there is none.
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

// isText says whether content of a type is text; all other is binary.
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
