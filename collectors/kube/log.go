package kube

import (
	"fmt"
	"log/slog"

	"k8s.io/klog/v2"
)

// logSink takes what client-go logs. All of it becomes a debug line: client-go reports each attempt
// of each watch, while Status, the metrics and two lines of our own say what state a cluster is in.
type logSink struct{ logger *slog.Logger }

var _ klog.LogSink = logSink{}

// Init does nothing.
func (s logSink) Init(klog.RuntimeInfo) {}

// Enabled accepts what client-go prints by default.
func (s logSink) Enabled(level int) bool { return level == 0 }

// Info logs a line.
func (s logSink) Info(_ int, msg string, kv ...any) {
	s.logger.Debug("Message of client-go", append([]any{"msg_client", msg}, kv...)...)
}

// Error logs a line with an error.
func (s logSink) Error(err error, msg string, kv ...any) {
	kv = append([]any{"msg_client", msg, "err", fmt.Sprint(err)}, kv...)
	s.logger.Debug("Error of client-go", kv...)
}

// WithValues returns a sink that adds to every line.
func (s logSink) WithValues(kv ...any) klog.LogSink { return logSink{s.logger.With(kv...)} }

// WithName returns the sink itself: component and cluster are names enough.
func (s logSink) WithName(string) klog.LogSink { return s }

// Logs sends the lines that client-go writes without knowing which cluster they are about to
// logger, at debug level. A program calls it once, before it starts the first Watcher.
func Logs(logger *slog.Logger) {
	klog.SetLogger(klog.New(logSink{logger.With("component", "kube")}))
}
