<%@page contentType="text/plain" session="false" import="java.net.URLDecoder,java.nio.charset.StandardCharsets,java.nio.file.Files,java.nio.file.Paths"%><%
	String path = request.getRequestURI();
	int parameters = path.indexOf(";jsessionid=");
	if (parameters >= 0) {
		path = path.substring(0, parameters);
	}
	try {
		path = URLDecoder.decode(path, StandardCharsets.UTF_8);
	} catch (IllegalArgumentException notEncoded) {
		response.sendError(400);
		return;
	}
	if (path.equals("/whoami")) {
		String id = request.getHeader("X-User-Id");
		out.print("id=[" + (id == null ? "" : id) + "]");
		return;
	}
	for (String line : Files.readAllLines(Paths.get(System.getProperty("areas")))) {
		String[] area = line.split(" ");
		if (path.equals(area[0]) || path.startsWith(area[0] + "/")) {
			out.print(area[1]);
			return;
		}
	}
	response.sendError(404);
%>
