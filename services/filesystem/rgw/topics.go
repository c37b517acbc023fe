package rgw

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// removeTopics removes the topics for notifications that applications made, which the gateway
// allows to every user. They are of no use to them: only the owner can connect a bucket to one. A
// gateway may have no such API.
func removeTopics(ctx context.Context, s3 *objectstore.Client) error {
	var answer struct {
		XMLName xml.Name `xml:"ListTopicsResponse"`
		Topics  []string `xml:"ListTopicsResult>Topics>member>TopicArn"`
	}
	err := s3.Call(ctx, topicCall("Action=ListTopics", true), &answer)
	if _, refused := errors.AsType[*objectstore.Error](err); refused {
		return nil
	}
	if err != nil {
		return s3.Explain("list the instance's topics", err)
	}
	for _, arn := range answer.Topics {
		if err := s3.Call(ctx, topicCall("Action=DeleteTopic&TopicArn="+arn, false), nil); err != nil {
			return s3.Explain("delete a topic of the instance", err)
		}
	}
	return nil
}

func topicCall(form string, reads bool) objectstore.Request {
	return objectstore.Request{
		Method: http.MethodPost, Reads: reads, Body: []byte(form),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}
