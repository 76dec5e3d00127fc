/*
 * The CNI plugin: hands the runtime's request to the agent and prints its answer. It decides nothing; without an agent it fails closed.
 * Messages: native/README.md. CNI specification 1.1: parameters in CNI_*, configuration on standard input, result or error as JSON on standard output.
 */
#define _GNU_SOURCE
#include "json.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Error codes of the CNI specification. */
enum {
	BAD_ENVIRONMENT = 4,
	IO_FAILURE = 5,
	UNDECODABLE = 6,
	TRY_AGAIN_LATER = 11,
	NOT_AVAILABLE = 50,
};

enum {
	CONFIG_LIMIT = 1 << 20,
	REPLY_LIMIT = 4 << 20,
	QUEUE_LIMIT = 256,
	/* Runtimes give up after about four minutes; the agent answers within its own, shorter, limit. */
	REPLY_SECONDS = 120,
};

static const char default_socket[] = "/var/run/cilium/cni.sock";
static char version[32] = "1.0.0";

static int fail(int code, const char *message, const char *details)
{
	printf("{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":", version, code);
	json_put_string(stdout, message);
	printf(",\"details\":");
	json_put_string(stdout, details);
	printf("}\n");
	return 1;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "";
}

/** Reads until the end of the file or the line; NULL when longer than `limit` or broken. `length` gets what came. */
static char *read_all(int fd, size_t limit, bool one_line, size_t *length)
{
	size_t size = 0, capacity = 64 << 10;
	char *text = malloc(capacity);
	while (text) {
		if (size == capacity) {
			if (capacity >= limit)
				break;
			char *bigger = realloc(text, capacity *= 2);
			if (!bigger)
				break;
			text = bigger;
		}
		ssize_t n = read(fd, text + size, capacity - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		char *line_end = one_line ? memchr(text + size, '\n', n) : NULL;
		size += n;
		if (n == 0 || line_end) {
			*length = line_end ? (size_t)(line_end - text) : size;
			return text;
		}
	}
	free(text);
	return NULL;
}

/** The request line, newline included; the caller frees it. */
static char *build_request(const char *command, struct slice config, size_t *length)
{
	static const char *const members[][2] = {
		{ "containerId", "CNI_CONTAINERID" }, { "netns", "CNI_NETNS" }, { "ifname", "CNI_IFNAME" },
		{ "args", "CNI_ARGS" }, { "path", "CNI_PATH" },
	};
	char *text = NULL;
	FILE *out = open_memstream(&text, length);
	if (!out)
		return NULL;
	fprintf(out, "{\"command\":");
	json_put_string(out, command);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		fprintf(out, ",\"%s\":", members[i][0]);
		json_put_string(out, variable(members[i][1]));
	}
	fprintf(out, ",\"config\":");
	for (size_t i = 0; i < config.len; i++)
		fputc(config.start[i] == '\n' || config.start[i] == '\r' ? ' ' : config.start[i], out);
	fprintf(out, "}\n");
	return fclose(out) == 0 ? text : NULL;
}

static int connect_agent(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = REPLY_SECONDS };
	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static bool send_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = send(fd, text, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		length -= n;
	}
	return true;
}

/** Sends the request and reads the reply line; NULL with errno when there is no agent or no whole answer. */
static char *ask_agent(const char *path, const char *request, size_t request_length, size_t *length)
{
	int fd = connect_agent(path);
	if (fd < 0)
		return NULL;
	char *reply = send_all(fd, request, request_length) ? read_all(fd, REPLY_LIMIT, true, length) : NULL;
	if (reply && !json_is_object((struct slice){ reply, *length })) {
		free(reply);
		reply = NULL;
		errno = EPROTO;
	}
	int error = errno;
	close(fd);
	errno = error;
	return reply;
}

static int print_reply(struct slice reply)
{
	struct slice body = json_member(reply, "stdout"), code = json_member(reply, "exitCode");
	if (code.len == 0)
		return fail(IO_FAILURE, "the answer of cilium-agent has no exitCode", "is the agent of another version?");
	if (body.len && memcmp(body.start, "null", body.len < 4 ? body.len : 4))
		printf("%.*s\n", (int)body.len, body.start);
	return atoi(code.start);
}

/** A file name part: letters, digits, '.', '_' and '-' only. */
static void append_name(char *name, size_t size, const char *part)
{
	size_t n = strlen(name);
	for (; *part && n + 1 < size; part++)
		name[n++] = isalnum((unsigned char)*part) || strchr("._-", *part) ? *part : '_';
	name[n] = 0;
}

static int queue_length(const char *directory)
{
	DIR *entries = opendir(directory);
	int n = 0;
	for (struct dirent *e; entries && (e = readdir(entries));)
		n += e->d_name[0] != '.';
	if (entries)
		closedir(entries);
	return n;
}

/** Leaves the request for the agent to replay: whole or not at all. */
static bool queue_delete(const char *socket_path, const char *request, size_t length)
{
	char directory[PATH_MAX], name[NAME_MAX - 16] = "", temporary[2 * PATH_MAX], final[2 * PATH_MAX];
	const char *slash = strrchr(socket_path, '/');
	int runtime = snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - socket_path) : 1, slash ? socket_path : ".");
	mkdir(directory, 0755); /* /var/run is empty after a boot; what is wrong with it shows in the next line */
	strcpy(directory + runtime, "/deleteQueue");
	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		return false;
	append_name(name, sizeof(name), variable("CNI_CONTAINERID"));
	append_name(name, sizeof(name), "-");
	append_name(name, sizeof(name), variable("CNI_IFNAME"));
	snprintf(final, sizeof(final), "%s/%s.delete", directory, name);
	if (access(final, F_OK) < 0 && queue_length(directory) >= QUEUE_LIMIT) {
		errno = ENOSPC;
		return false;
	}
	snprintf(temporary, sizeof(temporary), "%s/.%d.tmp", directory, getpid());
	int fd = open(temporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	bool good = write(fd, request, length) == (ssize_t)length && fsync(fd) == 0;
	good = close(fd) == 0 && good && rename(temporary, final) == 0;
	if (!good)
		unlink(temporary);
	return good;
}

static int without_agent(const char *command, const char *socket_path, const char *request, size_t length)
{
	char details[PATH_MAX + 128];
	snprintf(details, sizeof(details), "%s: %s", socket_path, strerror(errno));
	if (!strcmp(command, "STATUS"))
		return fail(NOT_AVAILABLE, "cilium-agent is not running on this node", details);
	if (strcmp(command, "DEL"))
		return fail(TRY_AGAIN_LATER, "cilium-agent does not answer; is the cilium pod of this node running?", details);
	if (queue_delete(socket_path, request, length))
		return 0;
	snprintf(details, sizeof(details), "deleteQueue: %s", strerror(errno));
	return fail(IO_FAILURE, "cilium-agent does not answer and the deletion could not be queued", details);
}

static bool is_command(const char *command)
{
	static const char *const known[] = { "ADD", "DEL", "CHECK", "STATUS", "GC" };
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(command, known[i]))
			return true;
	return false;
}

int main(void)
{
	const char *command = variable("CNI_COMMAND");
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	size_t length = 0, reply_length = 0;

	if (!strcmp(command, "VERSION")) {
		printf("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n");
		return 0;
	}
	if (!is_command(command))
		return fail(BAD_ENVIRONMENT, "CNI_COMMAND is not one of ADD, DEL, CHECK, GC, STATUS, VERSION", command);

	char *text = read_all(STDIN_FILENO, CONFIG_LIMIT, false, &length);
	struct slice config = { text, length };
	if (!text || !json_is_object(config))
		return fail(UNDECODABLE, "the network configuration on standard input is not a JSON object", "");
	json_text(config, "cniVersion", version, sizeof(version), version);
	const char *socket_path = json_text(config, "agent-socket", path, sizeof(path), default_socket);

	char *request = build_request(command, config, &length);
	if (!request)
		return fail(IO_FAILURE, "out of memory", "");
	char *reply = ask_agent(socket_path, request, length, &reply_length);
	return reply ? print_reply((struct slice){ reply, reply_length }) : without_agent(command, socket_path, request, length);
}
