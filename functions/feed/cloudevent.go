package feed

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Keys of what a feed gives to a trigger's actions: the attributes of the event
// (CloudEvents 1.0), its data under the names that the JSON format of CloudEvents
// has for them (section 3.1.1), and where the message was.
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

// cloudEvent are the attributes of an event, those of extensions included; as in
// the JSON format, their values are strings, booleans or whole numbers.
type cloudEvent map[string]any

// sourceOf is the attribute source of a trigger's own events (a URI reference).
func sourceOf(namespace, trigger string) string {
	return "/namespaces/" + url.PathEscape(namespace) + "/triggers/" + url.PathEscape(trigger)
}

// attributeName is how attributes may be called (CloudEvents 1.0, "Attribute
// Naming Convention"); longer ones than it advises are let through.
var attributeName = regexp.MustCompile(`^[a-z0-9]{1,64}$`)

// valid says whether the required attributes are there (CloudEvents 1.0, "Required
// Attributes") and the others what they must be.
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

// event is a message as an action gets it.
type event struct {
	attributes cloudEvent
	key        string // dataKey or binaryKey; empty: there is no data
	data       json.RawMessage
}

// header returns the first value of a header, whose case does not matter.
type header func(name string) string

// eventOf recognizes CloudEvents 1.0 in a message: in the structured mode, by its
// header Content-Type or, as the NATS protocol binding 1.0.2 has it, by its content
// alone, and in the binary mode by headers ce-* (the binding's later drafts). What
// is none gets attributes made of from. So does what claims to be one and is not.
func eventOf(data []byte, names []string, get header, from cloudEvent) event {
	contentType := get("Content-Type")
	media, _, _ := mime.ParseMediaType(contentType) // "" where it is none
	if media == structuredType || contentType == "" && get(attributePrefix+"specversion") == "" {
		if e, ok := structured(data); ok {
			return e
		}
	}
	e := event{attributes: from}
	if attributes := binary(names, get); attributes.valid() {
		e.attributes = attributes
		if own, ok := attributes["datacontenttype"].(string); ok && contentType == "" {
			contentType = own
		}
	}
	contentType, e.key, e.data = dataOf(data, contentType)
	if contentType != "" {
		e.attributes["datacontenttype"] = contentType
	}
	return e
}

// structured reads an event in the JSON format.
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
		if value != nil { // null is as good as absent (section 2.2)
			e.attributes[key] = value
		}
	}
	if e.key == binaryKey {
		var encoded []byte // which encoding/json reads as base64
		if json.Unmarshal(e.data, &encoded) != nil {
			return event{}, false
		}
	}
	return e, e.attributes.valid()
}

// binary reads attributes from headers: ce-<name>, percent-encoded.
func binary(names []string, get header) cloudEvent {
	attributes := cloudEvent{}
	for _, name := range names {
		key, ok := strings.CutPrefix(strings.ToLower(name), attributePrefix)
		if !ok {
			continue
		}
		value := get(name)
		if plain, err := url.PathUnescape(value); err == nil && utf8.ValidString(plain) {
			value = plain
		}
		attributes[key] = value
	}
	return attributes
}

// dataOf is a message's content as JSON: itself where it is JSON and not said to be
// something else, a string where it is text, and else base64. It completes the
// content type.
func dataOf(data []byte, contentType string) (newType, key string, raw json.RawMessage) {
	if len(data) == 0 {
		return contentType, "", nil
	}
	media, _, _ := mime.ParseMediaType(contentType)
	isJSON := contentType == "" || media == "application/json" || strings.HasSuffix(media, "+json")
	if isJSON && utf8.Valid(data) && json.Valid(data) {
		if contentType == "" {
			contentType = "application/json"
		}
		return contentType, dataKey, data
	}
	isText := contentType == "" || strings.HasPrefix(media, "text/")
	if isText && utf8.Valid(data) {
		if contentType == "" {
			contentType = "text/plain"
		}
		return contentType, dataKey, encoded(string(data))
	}
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return contentType, binaryKey, encoded(data)
}

// encoded is a string in JSON, or bytes in base64 in a string.
func encoded[T string | []byte](value T) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings and bytes always encode
	}
	return raw
}
