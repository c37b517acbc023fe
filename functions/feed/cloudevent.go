package feed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"mime"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

// Keys of the input of a trigger's actions: the attributes of the event (CloudEvents 1.0),
// its data under the names of the JSON format (section 3.1.1), and the message's position.
const (
	attributesKey = "cloudevent"
	dataKey       = "data"
	binaryKey     = "data_base64"
	messageKey    = "message"

	specVersion = "1.0"
	alarmType   = "io.github.chandler-broker.alarm"
	messageType = "io.github.chandler-broker.message"

	structuredType  = "application/cloudevents+json"
	attributePrefix = "ce-"
)

type cloudEvent map[string]any

// sourceOf is the attribute source of a trigger's own events (a URI reference).
func sourceOf(namespace, trigger string) string {
	return "/namespaces/" + url.PathEscape(namespace) + "/triggers/" + url.PathEscape(trigger)
}

// attributeName follows CloudEvents 1.0, except that names may be long.
var attributeName = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// valid says whether the attributes follow CloudEvents 1.0, "Required Attributes".
func (e cloudEvent) valid() bool {
	for _, key := range []string{"id", "source", "type"} {
		if s, ok := e[key].(string); !ok || s == "" {
			return false
		}
	}
	for key, value := range e {
		if !attributeName.MatchString(key) || !validAttribute(key, value) {
			return false
		}
	}
	return e["specversion"] == specVersion
}

func validAttribute(key string, value any) bool {
	s, isText := value.(string)
	switch key {
	case "time":
		_, err := time.Parse(time.RFC3339, s)
		return err == nil
	case "id", "source", "type", "subject", "dataschema", "datacontenttype", "specversion":
		return isText && s != ""
	}
	switch n := value.(type) {
	case string, bool:
		return true
	case json.Number:
		_, err := strconv.ParseInt(n.String(), 10, 32)
		return err == nil
	}
	return false
}

type event struct {
	attributes cloudEvent
	key        string // dataKey or binaryKey; empty without data
	data       json.RawMessage
}

// eventOf recognizes CloudEvents 1.0 in a message: in the structured mode by its header
// Content-Type, or by its content as in the NATS protocol binding 1.0.2, and in the binary
// mode by headers ce-*, as in later drafts of the binding. A message that is not a valid
// CloudEvent gets the attributes from.
func eventOf(data []byte, headers nats.Header, from cloudEvent) event {
	contentType := headerValue(headers, "Content-Type")
	media, _, _ := mime.ParseMediaType(contentType) // "" if it is invalid
	if media == structuredType || contentType == "" && headerValue(headers, attributePrefix+"specversion") == "" {
		if e, ok := structured(data); ok {
			return e
		}
	}
	e := event{attributes: from}
	if attributes := binary(headers); attributes.valid() {
		e.attributes = attributes
		own, _ := attributes["datacontenttype"].(string)
		contentType = cmp.Or(contentType, own)
	}
	contentType, e.key, e.data = dataOf(data, contentType)
	if contentType != "" {
		e.attributes["datacontenttype"] = contentType
	}
	return e
}

func structured(data []byte) (event, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil || object == nil {
		return event{}, false
	}
	e := event{attributes: cloudEvent{}}
	for _, key := range []string{dataKey, binaryKey} {
		if raw, ok := object[key]; ok && e.key == "" {
			e.key, e.data = key, raw
			delete(object, key)
		} else if ok {
			return event{}, false // both (section 3.1.1)
		}
	}
	for key, raw := range object {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil {
			return event{}, false
		}
		if value != nil { // null means absent (section 2.2)
			e.attributes[key] = value
		}
	}
	if e.key == binaryKey {
		var data []byte // encoding/json decodes base64
		if json.Unmarshal(e.data, &data) != nil {
			return event{}, false
		}
	}
	return e, e.attributes.valid()
}

// binary reads attributes from percent-encoded headers ce-<name>.
func binary(headers nats.Header) cloudEvent {
	attributes := cloudEvent{}
	for name := range headers {
		key, ok := strings.CutPrefix(strings.ToLower(name), attributePrefix)
		if !ok {
			continue
		}
		value := headerValue(headers, name)
		if plain, err := url.PathUnescape(value); err == nil && utf8.ValidString(plain) {
			value = plain
		}
		attributes[key] = value
	}
	return attributes
}

// dataOf is a message's content as JSON: unchanged if it is JSON and not declared as
// another type, a string if it is text, and else base64. It completes the content type.
func dataOf(data []byte, contentType string) (newType, key string, raw json.RawMessage) {
	if len(data) == 0 {
		return contentType, "", nil
	}
	media, _, _ := mime.ParseMediaType(contentType)
	isJSON := contentType == "" || media == "application/json" || strings.HasSuffix(media, "+json")
	isText := contentType == "" || strings.HasPrefix(media, "text/")
	switch {
	case isJSON && utf8.Valid(data) && json.Valid(data):
		return cmp.Or(contentType, "application/json"), dataKey, data
	case isText && utf8.Valid(data):
		return cmp.Or(contentType, "text/plain"), dataKey, toJSON(string(data))
	}
	return cmp.Or(contentType, "application/octet-stream"), binaryKey, toJSON(data)
}
