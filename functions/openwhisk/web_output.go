package openwhisk

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

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
		h["Content-Type"] = nil // the server must not guess
	}
	c.w.WriteHeader(p.answer.Status)
	_, _ = c.w.Write(p.answer.Body) // fails if the client has disconnected
}

// render answers with the result, or an application error's "error", as the extension requests.
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
		return refuse(http.StatusBadRequest, "There was an error processing your request.")
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
	_, _ = c.w.Write(body) // fails if the client has disconnected
	return nil
}

func (c *webCall) renderJSON(result json.RawMessage) error {
	if start := bytes.TrimSpace(result); len(start) == 0 || start[0] != '{' && start[0] != '[' {
		return invalidMedia("application/json")
	}
	return c.write(http.StatusOK, "application/json", result)
}

// projected is an object's property body, or else the given one. Other results are used whole.
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
	isObject := json.Unmarshal(result, &o) == nil && o != nil
	headers, validHeaders := httpHeaders(o["headers"])
	status, validStatus := httpStatus(o["statusCode"])
	if !isObject || !validHeaders || !validStatus {
		return invalidMedia("message/http")
	}
	contentType := headers.Get("Content-Type")
	headers.Del("Content-Type")
	body, contentType, err := httpBody(o["body"], contentType)
	if err != nil {
		return err
	}
	maps.Copy(c.w.Header(), headers)
	if len(body) == 0 {
		c.w.WriteHeader(cmp.Or(status, http.StatusNoContent))
		return nil
	}
	return c.write(cmp.Or(status, http.StatusOK), contentType, body)
}

// httpBody is a string as text or, for binary types, from base64; other values are JSON.
func httpBody(raw json.RawMessage, contentType string) ([]byte, string, error) {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, contentType, nil
	case json.Unmarshal(raw, &s) != nil:
		contentType = cmp.Or(contentType, "application/json")
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
		return nil, "", refuse(http.StatusBadRequest, "Response did not specify a known content-type.")
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

// decodedJSON decodes JSON in base64, which OpenWhisk accepts from old actions.
func decodedJSON(media, s string) []byte {
	if isJSON(media) && !json.Valid([]byte(s)) {
		if raw, err := base64.StdEncoding.DecodeString(s); err == nil {
			return raw
		}
	}
	return []byte(s)
}

// withCharset adds UTF-8 to a text type without a charset; JSON is always UTF-8.
func withCharset(contentType string) string {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || params["charset"] != "" || isJSON(media) {
		return contentType
	}
	return contentType + "; charset=UTF-8"
}

// httpStatus reads a number or a string with one; an absent status is 0.
func httpStatus(raw json.RawMessage) (int, bool) {
	if len(raw) == 0 {
		return 0, true
	}
	digits, _ := scalar(raw)
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

// framing are the headers that only the server sets.
var framing = map[string]bool{
	"connection": true, "content-length": true, "keep-alive": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
}

func headerValues(raw json.RawMessage) (values []string, valid bool) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		list = []json.RawMessage{raw}
	}
	for _, item := range list {
		value, valid := scalar(item)
		if !valid {
			return nil, false
		}
		values = append(values, value)
	}
	return values, true
}

// scalar is a JSON string, number or boolean as text.
func scalar(raw json.RawMessage) (text string, valid bool) {
	var s *string
	if json.Unmarshal(raw, &s) == nil && s != nil {
		return *s, true
	}
	text = string(bytes.TrimSpace(raw))
	return text, text != "" && !strings.ContainsAny(text[:1], "n{[")
}
