package openwhisk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// relay answers with what a CGI program wrote.
func (c *webCall) relay(p performed) {
	h := c.w.Header()
	for name, values := range p.answer.Header {
		h.Del(name)
		for _, v := range values {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(v) {
				h.Add(name, v)
			}
		}
	}
	if p.answer.Header.Get("Content-Type") == "" {
		h["Content-Type"] = nil // and no guess
	}
	c.w.WriteHeader(p.answer.Status)
	_, _ = c.w.Write(p.answer.Body) // who went away does not read it
}

// render answers with what an action returned, as the extension asks for. Of an
// application error it is the value of "error" that is rendered.
func (c *webCall) render(p performed) error {
	result := p.response().Result
	switch p.status {
	case succeeded:
	case applicationError:
		var o object
		if decodeJSON(result, &o) != nil || o["error"] == nil {
			return errNoProperty
		}
		result = o["error"]
	default:
		return errProcessing
	}
	switch c.extension {
	case ".json":
		return c.renderJSON(result)
	case ".html":
		return c.renderText(result, "html", "text/html; charset=UTF-8", "text/html")
	case ".svg":
		return c.renderText(result, "svg", "image/svg+xml", "image/svg+xml")
	case ".text":
		return c.renderPlain(result)
	}
	return c.renderHTTP(result)
}

func invalidMedia(media string) error {
	return refuse(http.StatusBadRequest, "Response is not valid '%s'.", media)
}

func (c *webCall) write(status int, contentType string, body []byte) error {
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // who went away does not read it
	return nil
}

func (c *webCall) renderJSON(result json.RawMessage) error {
	if start := bytes.TrimSpace(result); len(start) == 0 || start[0] != '{' && start[0] != '[' {
		return invalidMedia("application/json")
	}
	return c.write(http.StatusOK, "application/json", result)
}

// projected is the property body of an object, or else another one; what is no
// object is taken whole.
func projected(result json.RawMessage, property string) json.RawMessage {
	var o object
	if json.Unmarshal(result, &o) != nil || o == nil {
		return result
	}
	if body, there := o["body"]; there {
		return body
	}
	return o[property]
}

func (c *webCall) renderText(result json.RawMessage, property, contentType, media string) error {
	var s *string
	if raw := projected(result, property); raw == nil || json.Unmarshal(raw, &s) != nil || s == nil {
		return invalidMedia(media)
	}
	return c.write(http.StatusOK, contentType, []byte(*s))
}

func (c *webCall) renderPlain(result json.RawMessage) error {
	raw := projected(result, "text")
	if raw == nil {
		return errNoProperty
	}
	var s string
	if string(raw) != "null" && json.Unmarshal(raw, &s) == nil {
		raw = []byte(s)
	}
	return c.write(http.StatusOK, "text/plain; charset=UTF-8", raw)
}

// renderHTTP takes {statusCode, headers, body}.
func (c *webCall) renderHTTP(result json.RawMessage) error {
	var o object
	if json.Unmarshal(result, &o) != nil || o == nil {
		return invalidMedia("message/http")
	}
	headers, ok := httpHeaders(o["headers"])
	if !ok {
		return invalidMedia("message/http")
	}
	status, ok := httpStatus(o["statusCode"])
	if !ok {
		return invalidMedia("message/http")
	}
	contentType := headers.Get("Content-Type")
	headers.Del("Content-Type")
	body, contentType, err := httpBody(o["body"], contentType)
	if err != nil {
		return err
	}
	for name, values := range headers {
		c.w.Header()[name] = values
	}
	if len(body) == 0 {
		if status == 0 {
			status = http.StatusNoContent
		}
		c.w.WriteHeader(status)
		return nil
	}
	if status == 0 {
		status = http.StatusOK
	}
	return c.write(status, contentType, body)
}

// httpBody makes bytes of the property body. A string is text, or base64 where its
// type is a binary one; any other value is JSON.
func httpBody(raw json.RawMessage, contentType string) ([]byte, string, error) {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, contentType, nil
	case json.Unmarshal(raw, &s) != nil:
		if contentType == "" {
			contentType = "application/json"
		}
		if !isJSON(mediaType(contentType)) {
			return nil, "", errContentType
		}
		return raw, contentType, nil
	case s == "":
		return nil, contentType, nil
	case contentType == "":
		return []byte(s), "text/html; charset=UTF-8", nil
	}
	media := mediaType(contentType)
	if media == "" {
		return nil, "", errUnknownType
	}
	if isText(media) {
		return decodedJSON(media, s), withCharset(contentType), nil
	}
	body, err := base64.StdEncoding.DecodeString(s)
	if err != nil && media == "image/svg+xml" {
		return []byte(s), contentType, nil // text in all but name
	}
	if err != nil {
		return nil, "", errContentType
	}
	return body, contentType, nil
}

// decodedJSON is text, except that JSON may come in base64, as OpenWhisk still has
// it for old actions.
func decodedJSON(media, s string) []byte {
	if isJSON(media) && !json.Valid([]byte(s)) {
		if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
			return raw
		}
	}
	return []byte(s)
}

// withCharset names UTF-8 where text names no other; JSON is always UTF-8.
func withCharset(contentType string) string {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["charset"] != "" || isJSON(media) {
		return contentType
	}
	return contentType + "; charset=UTF-8"
}

// httpStatus reads a number, or a string of one; 0 where there is none.
func httpStatus(raw json.RawMessage) (int, bool) {
	if len(raw) == 0 {
		return 0, true
	}
	digits := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		digits = s
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 200 && n <= 599
}

// httpHeaders reads {name: string, number, boolean or an array of those}.
func httpHeaders(raw json.RawMessage) (http.Header, bool) {
	out := http.Header{}
	if len(raw) == 0 {
		return out, true
	}
	var o object
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return nil, false
	}
	for name, value := range o {
		values, ok := headerValues(value)
		if !ok || !httpguts.ValidHeaderFieldName(name) {
			return nil, false
		}
		if framing[strings.ToLower(name)] {
			continue
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, false
			}
			out.Add(name, v)
		}
	}
	return out, true
}

// framing is what the server alone says of a message.
var framing = map[string]bool{
	"connection": true, "content-length": true, "keep-alive": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
}

func headerValues(raw json.RawMessage) ([]string, bool) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, item := range list {
		switch x := item.(type) {
		case string:
			out = append(out, x)
		case json.Number:
			out = append(out, x.String())
		case bool:
			out = append(out, strconv.FormatBool(x))
		default:
			return nil, false
		}
	}
	return out, true
}
