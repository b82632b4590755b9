<%@page contentType="text/plain" session="false"%><%String id = request.getHeader("X-User-Id");%>id=[<%=id == null ? "" : id%>]
